/*
 * The callables of one worker, found by handle.
 *
 *   absent --add--> HELD --last hold dropped--> IDLE --add--> HELD
 *                    |                            `--its place is needed--> absent
 *                    `--last hold retired--> RETIRED --last use ended: gone(), forget--> absent
 *
 * - A hold keeps the handle good. Registering again is one more hold on the same entry.
 * - A use keeps the entry: a task that names it, for one. It is taken by handle, under the read
 *   lock, which is all that a submit pays for.
 * - IDLE entries are a cache of what runs have taken, for the next run that takes the same. So a
 *   table is full only when so many are held or used at once.
 * - A handle is an entry's key: the place in the table, from 1, in its low half, how often that was
 *   given up in the high one. So a stale handle names nothing, whoever has the place now.
 *
 * Thread-safe. Nothing blocks while a lock is held, except on memory.
 */
#ifndef WORKER_CALLABLES_H
#define WORKER_CALLABLES_H

#include "worker/modules.h"

/* Most callables of one worker at once. */
#define CALLABLES_MAX 4096u

struct callables;

/* NULL when memory is out. */
struct callables *callables_create(void);
void callables_destroy(struct callables *table);

/* What makes a callable itself. */
struct callable_spec {
	const struct module *module; /* that declares it; or NULL, and then: */
	const void *function;        /* of this program, by its address in this process */
	const char *name;            /* a function's is for messages */
	simpler_kind kind;
	simpler_bytes state;
	bool idempotent; /* two that differ in this alone have one digest */
};

/* The holds of one run, at most one on each entry. All zero at first. */
struct callable_holds {
	_Atomic uint64_t places[CALLABLES_MAX / 64];
};

/*
 * Hold the callable, which is registered if it is not. `holds` NULL: one hold more; else one of
 * that run's, unless it has one.
 *
 * @return As simpler_module_orch_fn(), or simpler_program_sub() for a function.
 */
simpler_status callables_add(struct callables *table, const struct callable_spec *spec,
                             struct callable_holds *holds, uint64_t *handle);
/* Give back one hold; nothing if the handle is stale. */
void callables_drop(struct callables *table, uint64_t handle);
/* Give back all of a run's. */
void callables_drop_all(struct callables *table, struct callable_holds *holds);

/* Use what a handle names; see callables_release(). SIMPLER_ESTALE for one that this table did not
 * give out, or not any more; SIMPLER_EKIND naming both kinds. */
simpler_status callables_find(struct callables *table, uint64_t handle, simpler_kind kind,
                              struct exec_callable **out);
/* Use what is held in place `index`, up to CALLABLES_MAX; NULL when there is nothing. */
struct exec_callable *callables_at(struct callables *table, uint32_t index);
/* The same, also of one that was retired and that tasks name still. */
struct exec_callable *callables_in_use_at(struct callables *table, uint32_t index);
/* End a use. */
void callables_release(struct callables *table, const struct exec_callable *callable);

/*
 * Give back one hold of the program's. With the last one the handle is stale at once, and when no
 * use is left gone() is called, perhaps in here.
 *
 * @param[out] last  It was.
 * @return As callables_find().
 */
simpler_status callables_retire(struct callables *table, uint64_t handle, simpler_kind kind,
                                bool *last);
/* Wait until a retired handle's entry is forgotten. False when it is not at `deadline`. */
bool callables_await_forgotten(struct callables *table, uint64_t handle, int64_t deadline);

/* Who sees to it that a callable that is gone here is so elsewhere, and then calls
 * callables_forget(). Called without a lock, by whoever ended the last use; does not block. Before
 * the first callable; without it, an entry is forgotten at once. */
void callables_on_gone(struct callables *table,
                       void (*gone)(void *context, struct exec_callable *callable), void *context);
void callables_forget(struct callables *table, struct exec_callable *callable);

#endif
