/*
 * The front end's side of its engine: requests and outcomes, installs, death and replacement.
 *
 *   DOWN -exec-> STARTING -its workers are up-> INSTALLING -all callables are-> READY
 *     ^             |                               |                             |
 *     `-------------+-------------------------------+-----------------------------'
 *                     death, kill for nonsense, or not up, not done with a callable or with a
 *                     stopped task in time
 *
 * The client is driven by one thread, its supervisor, which polls the descriptors of
 * engine_client_fds() and calls engine_client_step() when one is readable or the deadline that step
 * returned has passed. Only the supervisor moves the state. Outcomes are taken by a thread of the
 * engine's own, so that one does not wait for the supervisor.
 *
 * Whatever happens, every request that was accepted is completed once.
 */
#ifndef NODE_ENGINE_CLIENT_H
#define NODE_ENGINE_CLIENT_H

#include <poll.h>

#include "catalog/catalog.h"
#include "node/engine_process.h"
#include "wire/record.h"
#include "wire/vitals.h"

struct engine_client;

enum engine_state { ENGINE_DOWN, ENGINE_STARTING, ENGINE_INSTALLING, ENGINE_READY };
const char *engine_state_name(enum engine_state state);

/*
 * A request is over. `lost`: the engine ended before it answered, and `error` tells how; else
 * `error` is the task's own, status SIMPLER_OK on success. `error` is valid during the call only.
 * Runs on the outcome thread or the supervisor, under no lock, and must not block.
 */
typedef void engine_done(void *context, bool lost, const struct error *error);

/* `options` and what it points to, and `catalog`, are borrowed. Starts nothing yet. */
simpler_status engine_client_create(const struct engine_options *options, struct catalog *catalog,
                                    struct engine_client **out);

enum engine_state engine_client_state(struct engine_client *client);

#define ENGINE_END_MAX 512

/* What the front end knows of its engine. Times are of base/clock.h. */
struct engine_report {
	enum engine_state state;
	int64_t since;  /* when it came to this state */
	pid_t pid;      /* 0 when DOWN */
	bool answering; /* it has published its vitals lately */
	int64_t heard;  /* when it was seen to last */
	bool has_vitals;
	struct vitals vitals; /* as it published them last */
	uint32_t in_flight;   /* tasks that it has not answered for */
	uint32_t restarts;
	uint32_t young_deaths;         /* of so many engines in a row */
	int64_t retry;                 /* when DOWN: when the next one is started */
	char last_end[ENGINE_END_MAX]; /* how the last one ended; "" if none did */
};
/* Thread-safe. */
void engine_client_report(struct engine_client *client, struct engine_report *out);

/*
 * Hand a task to the engine. `task->token` is set by this, also for the caller to stop it with.
 * Thread-safe; does not block, but for as long as a short task takes if the caller `may_stay` and
 * it is the only one in flight.
 *
 * @return SIMPLER_EUNAVAILABLE when the engine is not READY; SIMPLER_ENOSPACE naming the limit.
 *         `done` is called only if this returned SIMPLER_OK.
 */
simpler_status engine_client_submit(struct engine_client *client, struct record_task *task,
                                    bool may_stay, engine_done *done, void *context);

/*
 * Have a task that was handed over end early. Its outcome comes by `done`, as ever, and until then
 * its storage is in use. An engine that has not answered for it within engine_stop_ms() is ended,
 * whatever else it is doing. A token that is not in flight any more is none to stop. Thread-safe;
 * does not block.
 */
void engine_client_cancel(struct engine_client *client, uint64_t token);

/*
 * See to it that the pending callable `key` of the catalog gets installed, and call `done` when it
 * is, or could not be: at once if that is known already. Thread-safe; does not block.
 *
 * A module that is new here is tried in a process of its own before the engine gets it.
 *
 * @return SIMPLER_EUNAVAILABLE when the engine is not READY, SIMPLER_ENOMEM; `done` is called only
 *         if this returned SIMPLER_OK.
 */
simpler_status engine_client_install(struct engine_client *client, uint64_t key, engine_done *done,
                                     void *context);

/* --- the supervisor --- */

#define ENGINE_CLIENT_FDS 3

/* Execute the engine. The first start is the caller's to judge; later ones are tried for ever. */
simpler_status engine_client_start(struct engine_client *client);
/* The memory of a session, for tasks from now on; its descriptor is borrowed until the end. This
 * engine is told of it before this returns, each later one before it is READY. Errors as of
 * engine_memory_share(). This and the next are for any thread. */
simpler_status engine_client_share(struct engine_client *client,
                                   const struct record_segment *segment, int fd);
void engine_client_unshare(struct engine_client *client, uint32_t id);
/* Unused ones are -1. */
void engine_client_fds(struct engine_client *client, struct pollfd fds[ENGINE_CLIENT_FDS]);
/* Do what there is to do now. Returns when to call again at the latest (base/clock.h). */
int64_t engine_client_step(struct engine_client *client);
/* A child of ours has ended: reap those that nobody waits for, which user code started and left. */
void engine_client_reap(struct engine_client *client);
/* End the engine for good: what is still in flight is lost. */
void engine_client_stop(struct engine_client *client);
/* After its stop. NULL is allowed. */
void engine_client_destroy(struct engine_client *client);

#endif
