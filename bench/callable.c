#include "callable.h"

#include <stdio.h>
#include <stdlib.h>

#include "catalog/module_read.h"
#include "simpler/version.h"

void bench_payload_make(const struct bench *bench, const char *name, struct bench_payload *out)
{
	struct payload payload = { .kind = SIMPLER_KIND_ORCH,
		                   .abi = SIMPLER_CALLABLE_ABI,
		                   .origin = { .source = ORIGIN_MODULE } };
	uint8_t *module, *bytes;
	size_t size;

	(void)snprintf(payload.name, sizeof(payload.name), "%s", name);
	if (module_read(bench->module, &module, &size) != SIMPLER_OK ||
	    digest_compute(module, size, &payload.origin.module) != SIMPLER_OK ||
	    digest_callable(payload.kind, payload.abi, &payload.origin, name, payload.state,
	                    &out->digest) != SIMPLER_OK)
		bench_give_up("reading the module");
	payload.module_bytes = (simpler_bytes){ module, size };
	bytes = malloc(payload_size(&payload));
	if (!bytes)
		bench_give_up("memory");
	payload_encode(&payload, bytes);
	out->id = digest_id(&out->digest);
	out->version = digest_version(&out->digest);
	out->payload = (simpler_bytes){ bytes, payload_size(&payload) };
	free(module);
}

void bench_payload_release(struct bench_payload *payload)
{
	free((void *)(uintptr_t)payload->payload.data);
}
