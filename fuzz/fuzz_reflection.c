/* Any bytes are refused, or answered, and the same way each time. Seeds: make-message-seeds. */
#include <stdlib.h>
#include <string.h>

#include "rpc/reflection.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rpc_buffer first, second;
	enum rpc_code code = rpc_reflection_answer(data, size, &first);

	if (code == RPC_INVALID_ARGUMENT)
		return 0;
	if (code != RPC_OK || rpc_reflection_answer(data, size, &second) != RPC_OK ||
	    first.size != second.size || memcmp(first.data, second.data, first.size) != 0)
		abort();
	rpc_buffer_release(&first);
	rpc_buffer_release(&second);
	return 0;
}
