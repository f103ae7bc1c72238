#include "module_digest.h"

#include <stdlib.h>

#include "base/error.h"
#include "catalog/module_file.h"
#include "catalog/module_read.h"

simpler_status module_digest(const char *path, struct digest *out)
{
	static struct module_file file; /* some 17 KB */
	uint8_t *bytes;
	size_t size;
	simpler_status status = module_read(path, &bytes, &size);

	if (status != SIMPLER_OK)
		return status;
	status = module_file_parse(bytes, size, &file);
	if (status == SIMPLER_OK)
		status = digest_compute(bytes, size, out);
	free(bytes);
	if (status != SIMPLER_OK)
		return error_context("'%s' is no module that can be used here", path);
	return SIMPLER_OK;
}
