#include "device/registry.h"

#include <stdio.h>
#include <string.h>

#include "device/sim.h"
#include "os/dl.h"

typedef const simpler_device_ops *driver_function(void);

/* Drivers of ours. Each is found by its own name. */
static const simpler_device_ops *const known[] = {
	&sim_device,
};
#define KNOWN_COUNT (sizeof(known) / sizeof(known[0]))

static simpler_status explain_unknown(const char *device)
{
	char names[256] = "";
	size_t used = 0;

	for (size_t i = 0; i < KNOWN_COUNT && used < sizeof(names); i++) {
		int written = snprintf(names + used, sizeof(names) - used, "%s'%s'",
		                       i > 0 ? ", " : "", known[i]->name);

		used += written > 0 ? (size_t)written : 0;
	}
	return error_raise(SIMPLER_ENOTFOUND,
	                   "there is no device '%s'; known are %s, and paths of drivers, which "
	                   "have a '/' in them",
	                   device, names);
}

static bool is_complete(const simpler_device_ops *ops)
{
	return ops->name && ops->count && ops->open && ops->close && ops->alloc && ops->free &&
	       ops->copy_in && ops->copy_out && ops->launch;
}

static simpler_status check(const char *path, const simpler_device_ops *ops)
{
	if (!ops)
		return error_raise(SIMPLER_EINVAL, "the driver '%s' gave no table of functions",
		                   path);
	if (ops->abi != SIMPLER_DEVICE_ABI)
		return error_raise(SIMPLER_EVERSION,
		                   "the driver '%s' is of device ABI %u, this is %u: build it "
		                   "against these headers",
		                   path, (unsigned)ops->abi, (unsigned)SIMPLER_DEVICE_ABI);
	if (ops->struct_size < sizeof(*ops))
		return error_raise(SIMPLER_EVERSION,
		                   "the driver '%s' has a table of %zu bytes, %zu are wanted: "
		                   "build it against these headers",
		                   path, ops->struct_size, sizeof(*ops));
	if (!is_complete(ops))
		return error_raise(SIMPLER_EINVAL, "the driver '%s' lacks a function or its name",
		                   path);
	return SIMPLER_OK;
}

static simpler_status load(const char *path, const simpler_device_ops **out)
{
	driver_function *driver;
	void *object, *symbol;
	simpler_status status = dl_open_path(path, &object);

	if (status)
		return status;
	symbol = dl_symbol(object, SIMPLER_DEVICE_SYMBOL);
	if (!symbol)
		return error_raise(SIMPLER_EINVAL,
		                   "'%s' is no device driver: it lacks '%s', see simpler/device.h",
		                   path, SIMPLER_DEVICE_SYMBOL);
	memcpy(&driver, &symbol, sizeof(driver)); /* C has no cast for it, POSIX has the sizes */
	*out = driver();
	return check(path, *out);
}

simpler_status registry_find(const char *device, const simpler_device_ops **out)
{
	if (strchr(device, '/'))
		return load(device, out);
	for (size_t i = 0; i < KNOWN_COUNT; i++) {
		if (strcmp(device, known[i]->name) == 0) {
			*out = known[i];
			return SIMPLER_OK;
		}
	}
	return explain_unknown(device);
}
