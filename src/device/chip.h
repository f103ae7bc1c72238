/*
 * A chip, as its worker process has it: an open device, the memory it keeps there between tasks,
 * and the moving of a task's tensors to the device and back.
 *
 * Tensors arrive as views of host memory, with any strides. On the device each is contiguous. Those
 * that the task reads are copied there before the kernel, those that it writes are copied back
 * after it, if it succeeded: the host's bytes of a failed kernel's results are untouched.
 *
 * Arguments of one task that use the same bytes of the host use the same bytes of the device, so a
 * kernel may be handed one buffer as two tensors, as a sub task may:
 *
 * - Contiguous tensors that share a byte lie in one block of the device, at the distance that they
 *   have on the host.
 * - Strided tensors share a block when they are the same view: same address, element size, shape
 *   and strides.
 * - Any other two that share a byte and of which one is written are refused: their elements would
 *   be packed into two places, and it would depend on the order of copies what came back. When both
 *   are only read each gets a copy.
 *
 * Thread-safety: one thread at a time.
 */
#ifndef DEVICE_CHIP_H
#define DEVICE_CHIP_H

#include "base/error.h"
#include "simpler/callable.h"

struct chip;

struct chip_stats {
	uint64_t bytes_in, bytes_out; /* copied to the device and back */
	uint64_t kept_bytes;          /* of the device, unused, for later tasks */
	uint64_t allocations;         /* that the device was asked for */
};

/*
 * Open chip `index` of `device`: the name of a driver of ours, or the path of a shared object with
 * one (see simpler/device.h). Blocks as long as the driver does.
 *
 * @return SIMPLER_ENOTFOUND for a name that is none, with those that are, and for an index that the
 *         device has not; SIMPLER_EINVAL or SIMPLER_EVERSION for a shared object that is no driver
 *         or one of another ABI; what the driver says.
 */
simpler_status chip_open(const char *device, uint32_t index, struct chip **out);
void chip_close(struct chip *chip);

/*
 * Run `kernel`, which is called `name`, as the config says, or with the defaults if that is NULL.
 *
 * @return what the kernel's first failing block returned, even if that is no status, with its
 *         message as this thread's error; SIMPLER_EINVAL for a config without blocks or threads, or
 *         arguments that overlap; SIMPLER_ENOSPACE when the device has no room for the tensors;
 *         SIMPLER_ECANCELLED when simpler_should_stop() turned true before the results were out.
 */
simpler_status chip_run(struct chip *chip, const char *name, simpler_chip_function *kernel,
                        simpler_bytes state, const simpler_config *config,
                        const simpler_args *args);

void chip_stats(const struct chip *chip, struct chip_stats *out);

#endif
