/* What a request names is refused, or is a name that a request can be made of, which names the
 * same. Seeds: make-message-seeds. */
#include <stdlib.h>
#include <string.h>

#include "rpc/health.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* HealthCheckRequest { service = 1 }. */
static size_t encode(const char *service, uint8_t *out)
{
	size_t length = strlen(service), at = 0;

	out[at++] = 1 << 3 | 2;
	out[at++] = (uint8_t)(length & 127) | (length > 127 ? 128 : 0);
	if (length > 127)
		out[at++] = (uint8_t)(length >> 7);
	memcpy(out + at, service, length);
	return at + length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char service[RPC_HEALTH_NAME_MAX + 1], again[RPC_HEALTH_NAME_MAX + 1];
	uint8_t bytes[3 + RPC_HEALTH_NAME_MAX];

	if (!rpc_health_decode(data, size, service))
		return 0;
	if (!rpc_health_decode(bytes, encode(service, bytes), again) || strcmp(again, service) != 0)
		abort();
	return 0;
}
