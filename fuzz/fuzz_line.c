/* Heads of a line's messages. What is accepted stays what it is when it is encoded again. Seeds:
 * make-ipc-seeds. */
#include <stdlib.h>
#include <string.h>

#include "wire/line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t bytes[LINE_HEAD_BYTES];
	struct line_head head;

	if (line_head_decode(data, size, &head) != SIMPLER_OK)
		return 0;
	line_head_encode(&head, bytes);
	if (memcmp(bytes, data, sizeof(bytes)) != 0 ||
	    (size > sizeof(bytes) && head.kind != LINE_DATA && head.kind != LINE_CLOSE))
		abort();
	return 0;
}
