/*
 * Callables that could not be installed in this process, and why: each task that names one is told.
 * They are few, or the parent is broken. Thread-safety: none; the owner says who calls.
 */
#ifndef IPC_FAILED_INSTALLS_H
#define IPC_FAILED_INSTALLS_H

#include <stdint.h>

#include "base/error.h"

/* All zero: none. */
struct failed_installs {
	struct failed_install *first;
};

/* This thread's last error is why. Without memory it is logged, and no more. */
void failed_installs_note(struct failed_installs *failed, uint64_t key);
/* Raise why there is no callable with this key here; SIMPLER_ENOTFOUND if none was sent. */
simpler_status failed_installs_explain(const struct failed_installs *failed, uint64_t key);
/* Nothing if it is none of them. */
void failed_installs_forget(struct failed_installs *failed, uint64_t key);
void failed_installs_release(struct failed_installs *failed);

#endif
