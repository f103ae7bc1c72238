#include "device/sim.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/log.h"
#include "device/sim_pool.h"
#include "os/memory.h"
#include "tensor/arena.h"

_Static_assert(ARENA_ALIGNMENT % SIMPLER_DEVICE_ALIGNMENT == 0,
               "blocks of the arena are aligned as a device's are");

/* A block that is allocated. There are few: those of one task and those that the chip keeps. */
struct sim_block {
	struct arena_block *block;
	struct sim_block *next;
};

struct simpler_device {
	uint32_t index;
	int fd;
	uint8_t *base;
	uint64_t capacity, page_bytes;
	struct arena *arena;
	struct sim_block *blocks;
	struct sim_pool *pool;
	bool warned; /* of diagnostic flags */
};

static simpler_status sim_count(uint32_t *out)
{
	*out = SIM_DEVICES;
	return SIMPLER_OK;
}

/* --- opening --- */

/* What the letter behind a number multiplies it by; 0 for what is no such letter. */
static uint64_t unit_of(const char *letter)
{
	static const struct {
		const char *letter;
		uint64_t unit;
	} units[] = { { "", 1 },
		      { "K", UINT64_C(1) << 10 },
		      { "M", UINT64_C(1) << 20 },
		      { "G", UINT64_C(1) << 30 } };

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(letter, units[i].letter) == 0)
			return units[i].unit;
	}
	return 0;
}

static bool parse_size(const char *text, uint64_t *bytes)
{
	char *end;
	unsigned long long number;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	number = strtoull(text, &end, 10);
	return errno == 0 && unit_of(end) > 0 && checked_mul(number, unit_of(end), bytes);
}

static simpler_status choose_capacity(struct simpler_device *device)
{
	const char *text = getenv(SIM_MEMORY_VARIABLE);

	device->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	device->capacity = SIM_MEMORY_DEFAULT;
	if (!text || !*text)
		return SIMPLER_OK;
	if (!parse_size(text, &device->capacity) || device->capacity < device->page_bytes ||
	    !checked_align(device->capacity, device->page_bytes, &device->capacity) ||
	    device->capacity > INT64_MAX)
		return error_raise(SIMPLER_EINVAL,
		                   SIM_MEMORY_VARIABLE
		                   " is '%s': a number of bytes, at least %" PRIu64
		                   ", is wanted, such as 67108864 or 64M",
		                   text, device->page_bytes);
	return SIMPLER_OK;
}

static void sim_close(struct simpler_device *device)
{
	sim_pool_destroy(device->pool);
	while (device->blocks) {
		struct sim_block *next = device->blocks->next;

		free(device->blocks);
		device->blocks = next;
	}
	arena_destroy(device->arena);
	if (device->base)
		memory_unmap(device->base, device->capacity);
	if (device->fd >= 0)
		(void)close(device->fd);
	free(device);
}

static simpler_status fill(struct simpler_device *device)
{
	void *base;
	simpler_status status = choose_capacity(device);

	if (!status)
		status = memory_create("simpler simulated device", device->capacity, &device->fd);
	if (!status)
		status = memory_map(device->fd, device->capacity, &base);
	if (status)
		return status;
	device->base = base;
	device->arena = arena_create(device->capacity, device->page_bytes);
	device->pool = sim_pool_create();
	if (!device->arena || !device->pool)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a simulated device");
	return SIMPLER_OK;
}

static simpler_status sim_open(uint32_t index, simpler_device **out)
{
	struct simpler_device *device = calloc(1, sizeof(*device));
	simpler_status status;

	if (!device)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a simulated device");
	device->index = index;
	device->fd = -1;
	status = fill(device);
	if (status)
		sim_close(device);
	else
		*out = device;
	return status;
}

/* --- memory --- */

/* In the device's own words: the arena speaks of a node's tensors. */
static simpler_status explain_no_room(const struct simpler_device *device, uint64_t bytes)
{
	return error_raise(SIMPLER_ENOSPACE,
	                   "asked for %" PRIu64 " bytes of simulated device %" PRIu32 ": %" PRIu64
	                   " of its %" PRIu64 " bytes are used, the largest gap is %" PRIu64
	                   "; use smaller tensors or set " SIM_MEMORY_VARIABLE,
	                   bytes, device->index, arena_used(device->arena), device->capacity,
	                   arena_largest_free(device->arena));
}

/* Touching a page that the system has no memory for would be a SIGBUS. */
static simpler_status commit(const struct simpler_device *device, const struct arena_block *block)
{
	uint64_t start = block->offset / device->page_bytes * device->page_bytes;

	return memory_commit(device->fd, start, block->offset + block->bytes - start);
}

static simpler_status take_block(struct simpler_device *device, uint64_t bytes,
                                 struct sim_block *taken)
{
	simpler_status status = arena_alloc(device->arena, bytes, &taken->block);

	if (status)
		return status == SIMPLER_ENOSPACE ? explain_no_room(device, bytes) : status;
	status = commit(device, taken->block);
	if (status)
		(void)arena_free(device->arena, taken->block);
	return status;
}

static simpler_status sim_alloc(simpler_device *device, uint64_t bytes, void **address)
{
	struct sim_block *taken = malloc(sizeof(*taken));
	simpler_status status;

	if (!taken)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a block of a device");
	status = take_block(device, bytes, taken);
	if (status) {
		free(taken);
		return status;
	}
	taken->next = device->blocks;
	device->blocks = taken;
	*address = device->base + taken->block->offset;
	return SIMPLER_OK;
}

/* Large blocks share no page with others, so theirs go back to the system. */
static void give_block(struct simpler_device *device, struct arena_block *block)
{
	if (arena_is_large(block))
		(void)memory_punch(device->fd, block->offset, block->bytes);
	(void)arena_free(device->arena, block);
}

static void sim_free(simpler_device *device, void *address)
{
	struct sim_block **at = &device->blocks, *taken;

	while (*at && device->base + (*at)->block->offset != address)
		at = &(*at)->next;
	taken = *at;
	assert(taken);
	*at = taken->next;
	give_block(device, taken->block);
	free(taken);
}

static simpler_status check_range(const struct simpler_device *device, const void *address,
                                  uint64_t bytes)
{
	uintptr_t at = (uintptr_t)address - (uintptr_t)device->base;

	for (const struct sim_block *each = device->blocks; each; each = each->next) {
		const struct arena_block *block = each->block;

		if (at >= block->offset && bytes <= block->bytes &&
		    at - block->offset <= block->bytes - bytes)
			return SIMPLER_OK;
	}
	return error_raise(SIMPLER_EINVAL,
	                   "%" PRIu64 " bytes at %p are not within a block of simulated device "
	                   "%" PRIu32,
	                   bytes, address, device->index);
}

static simpler_status sim_copy_in(simpler_device *device, void *to_device, const void *from_host,
                                  uint64_t bytes)
{
	simpler_status status = check_range(device, to_device, bytes);

	if (!status)
		memcpy(to_device, from_host, bytes);
	return status;
}

static simpler_status sim_copy_out(simpler_device *device, void *to_host, const void *from_device,
                                   uint64_t bytes)
{
	simpler_status status = check_range(device, from_device, bytes);

	if (!status)
		memcpy(to_host, from_device, bytes);
	return status;
}

/* Once, as kernels come by the thousand. */
static void warn_of_diagnostics(simpler_device *device, const simpler_config *config)
{
	if (device->warned ||
	    !(config->enable_l2_swimlane || config->enable_dump_tensor || config->enable_pmu != 0))
		return;
	device->warned = true;
	simpler_log(SIMPLER_LOG_WARN, "a simulated device makes no swimlane, dump or counters: the "
	                              "diagnostic flags of the config do nothing");
}

static simpler_status sim_launch(simpler_device *device, const simpler_device_launch *launch)
{
	warn_of_diagnostics(device, launch->config);
	return sim_pool_launch(device->pool, launch);
}

const simpler_device_ops sim_device = {
	.abi = SIMPLER_DEVICE_ABI,
	.struct_size = sizeof(simpler_device_ops),
	.name = "sim",
	.count = sim_count,
	.open = sim_open,
	.close = sim_close,
	.alloc = sim_alloc,
	.free = sim_free,
	.copy_in = sim_copy_in,
	.copy_out = sim_copy_out,
	.launch = sim_launch,
};
