/*
 * The callables that a node's front end knows, who owns each, and the modules they come from. The
 * front end keeps them so that a new engine can be given all of them again; it never loads one.
 *
 *     offer -> PENDING -settled, loaded-> PREPARED -commit-> VISIBLE
 *                 |                         |  ^               |  ^
 *                 |             last owner  |  |               |  |  offered again: as prepared
 *                 |                 leaves  v  |               v  |  or committed, as asked for
 *                 |                         `--'--WITHDRAWN----'--'
 *                 | settled, not loaded           | nobody has it pinned
 *                 `-------------> gone <----------'
 *
 * A callable of a library keeps the code that the library's file had when it was offered first,
 * until it is gone.
 *
 * A callable is pending while the caller installs it in the engine; dispatches find it only when it
 * is visible, and pin it until they are answered. It is owned by the sessions that prepared it, and
 * belongs to all of them alike: one that commits makes it visible for everybody, and it stays until
 * the last has left. Session 0 is the one of all clients that name none. What a session prepared
 * and has not committed it owns for CATALOG_PREPARED_MS only.
 *
 * Which callables the engine of the day has is the caller's to know: after a restart it goes
 * through all of them with catalog_next(), whatever their state.
 *
 * Thread-safe. Nothing here waits for an engine, and only offers of new modules wait for each other
 * while one is copied.
 */
#ifndef CATALOG_CATALOG_H
#define CATALOG_CATALOG_H

#include <stdbool.h>

#include "catalog/module_store.h"
#include "catalog/payload.h"
#include "catalog/policy.h"

struct catalog;

#define CATALOG_PREPARED_MS 60000u

struct catalog_options {
	size_t callables; /* at most; each of at most SIMPLER_STATE_MAX bytes of captured state */
	size_t owners;    /* of all callables together */
	struct module_store_options modules;
	const char *const *library_directories; /* searched in this order; borrowed */
	size_t library_directory_count;
	int64_t (*now)(void); /* monotonic nanoseconds; tests hand in their own clock */
};

#define CATALOG_OPTIONS_INIT                                                                       \
	{                                                                                          \
		.callables = 4096, .owners = 65536,                                                \
		.modules = { .modules = 256, .bytes = UINT64_C(1) << 30, .uploads = 16 },          \
		.now = clock_now,                                                                  \
	}

enum catalog_state { CATALOG_PENDING, CATALOG_PREPARED, CATALOG_VISIBLE, CATALOG_WITHDRAWN };

/* A callable, as a value. What `payload` and `module_bytes` point to and `module_fd` belong to the
 * catalog, and are there as long as the callable is pinned. */
struct catalog_entry {
	uint64_t key; /* what record_task.callable and record_install.callable carry; counts from 1,
	                 never used twice */
	uint64_t callable_id, version;
	struct digest digest;
	enum catalog_state state;
	struct payload
		payload; /* with the module's bytes, if they fit one; see catalog_payload() */
	bool is_signed;
	uint8_t signature[SIGNATURE_BYTES]; /* the one that came last */
	/* What is to be loaded, whether a module or a library. */
	struct digest module;
	simpler_bytes module_bytes;
	int module_fd; /* a sealed memfd */
};

/* The payload with its signature, which points into the entry. */
static inline struct payload catalog_payload(const struct catalog_entry *entry)
{
	struct payload payload = entry->payload;

	if (entry->is_signed)
		payload.signature = (simpler_bytes){ entry->signature, SIGNATURE_BYTES };
	return payload;
}

/* `policy` is borrowed: it says of each offer, of a known callable too, whether it may come in.
 * NULL, with the error raised, when memory is out or a directory cannot be used. */
struct catalog *catalog_create(const struct catalog_options *options, struct policy *policy);
/* Nothing is pinned any more. NULL is allowed. */
void catalog_destroy(struct catalog *catalog);

/* --- coming --- */

struct catalog_offering {
	uint64_t session; /* whose it will be */
	uint64_t callable_id;
	uint64_t version;      /* 0: whatever it is */
	simpler_bytes digest;  /* the callable's; empty: whatever it is */
	simpler_bytes payload; /* a CallablePayload.pickled */
	bool commit;           /* prepared and committed in one */
};

/*
 * Take in a callable. Everything is checked before anything is kept. One that is known has one more
 * owner, and is the newest of its id if it is committed. `out` is not pinned.
 *
 * @param[out] fresh  True: this call made the callable known, so install it in the engine and
 *                    settle it. False: it was known; `out` says whether it is still pending.
 * @return SIMPLER_EINVAL for callable id 0, a version or digest that is not the callable's, a bad
 *         payload or a bad module; SIMPLER_EVERSION; SIMPLER_EKIND; SIMPLER_ENOTFOUND for a name
 *         that the module does not declare, a library that is not installed, or a payload by
 *         digest of a module that is not known here: send it with the module's bytes;
 *         SIMPLER_EEXIST when id and version are taken by
 *         another digest; SIMPLER_ENOSPACE naming the limit; SIMPLER_EPERM when the policy does
 *         not allow it.
 */
simpler_status catalog_offer(struct catalog *catalog, const struct catalog_offering *offering,
                             struct catalog_entry *out, bool *fresh);

/*
 * The engine's answer for a pending callable: loaded, or gone. A key that is not pending is left
 * alone: a later engine answers for what an earlier one had.
 */
void catalog_settle(struct catalog *catalog, uint64_t key, bool installed);

#define CATALOG_MOST_DEATHS 3u /* of engines in a row; so many others kill hardly by chance */

/*
 * An engine ended while it loaded this callable, which others had loaded before. At the
 * CATALOG_MOST_DEATHS-th time in a row it is withdrawn, whoever owns it, or no engine would ever
 * have all of them; catalog_settle() with true begins a new row. A pending one is left alone.
 *
 * @return True: it is withdrawn.
 */
bool catalog_blame(struct catalog *catalog, uint64_t key);

/*
 * Ask the policy about every callable once more, and withdraw those that it does not allow now,
 * whoever owns them: their owners have left then, and who looks for one is told SIMPLER_EPERM. What
 * runs goes on. While the trust directory is broken nothing is withdrawn.
 *
 * @return How many were withdrawn.
 */
size_t catalog_recheck(struct catalog *catalog);

struct catalog_stats {
	size_t callables, prepared; /* `prepared`: those of them that nobody has committed */
	struct module_store_stats modules;
};
void catalog_stats(struct catalog *catalog, struct catalog_stats *out);
/* What it was made with. */
const struct catalog_options *catalog_limits(const struct catalog *catalog);

/* --- modules without a callable --- */

/* Where callables' modules are kept. Valid as long as the catalog. */
struct module_store *catalog_modules(struct catalog *catalog);
/* As module_upload_begin(), for whom the policy allows it: otherwise SIMPLER_EPERM. `signature` as
 * in a payload. */
simpler_status catalog_begin_upload(struct catalog *catalog, const struct digest *digest,
                                    simpler_bytes signature, uint64_t nbytes,
                                    struct module_upload **out);

/* --- owners; version 0 means the newest of those that the session owns --- */

/* What the session has prepared is visible from now on. Once more is no error.
 * SIMPLER_ESTATE when it has not prepared it, or is too late; SIMPLER_ENOTFOUND for what was never
 * heard of. */
simpler_status catalog_commit(struct catalog *catalog, uint64_t session, uint64_t callable_id,
                              uint64_t version);
/* The session gives up what it has prepared. Once more is no error. SIMPLER_ESTATE for what it has
 * committed, and as catalog_commit(). */
simpler_status catalog_abort(struct catalog *catalog, uint64_t session, uint64_t callable_id,
                             uint64_t version);

/* Somebody who waits until a withdrawn callable is gone, or is owned anew. The memory is the
 * caller's until `done` was called, which happens once, on any thread, under no lock. */
struct catalog_waiter {
	void (*done)(struct catalog_waiter *waiter);
	uint64_t key; /* private, with the rest; 0: does not wait */
	struct catalog_waiter *prev, *next;
};

/*
 * The session owns it no longer, committed or not; once more is no error. The last owner's leaving
 * withdraws it.
 *
 * @param[out] waits  True: it is pinned still, and `waiter->done` will be called.
 * @return as catalog_commit().
 */
simpler_status catalog_unregister(struct catalog *catalog, uint64_t session, uint64_t callable_id,
                                  uint64_t version, struct catalog_waiter *waiter, bool *waits);
/* True: it does not wait any more. False: it did not, or `done` is being called. */
bool catalog_stop_waiting(struct catalog *catalog, struct catalog_waiter *waiter);

/* The session has ended: it owns nothing any more. */
void catalog_leave(struct catalog *catalog, uint64_t session);
/* End what was prepared too long ago. Returns when the next such is due; CLOCK_NEVER: none is. */
int64_t catalog_expire(struct catalog *catalog);

/*
 * A callable that is gone, so that an engine which was given it may forget it. Each is told once.
 * False: there is none.
 */
bool catalog_take_gone(struct catalog *catalog, uint64_t *key);

/* --- finding --- */

/*
 * The visible callable of this id and version, pinned; 0 means the newest: the one committed last.
 *
 * @return SIMPLER_ENOTFOUND for an unknown id; SIMPLER_ESTATE naming the versions there are, or
 *         saying that it is not visible yet, or was unregistered lately.
 */
simpler_status catalog_find(struct catalog *catalog, uint64_t callable_id, uint64_t version,
                            struct catalog_entry *out);

/* The callable with the lowest key above `after`, whatever its state, pinned; false past the last.
 */
bool catalog_next(struct catalog *catalog, uint64_t after, struct catalog_entry *out);
/* Not pinned. False when it is gone. */
bool catalog_get(struct catalog *catalog, uint64_t key, struct catalog_entry *out);
/*
 * Whether the module of this callable has been tried out: loaded once, with nothing to lose, before
 * an engine was given it. It is remembered for as long as the module is here, whatever becomes of
 * the callable. False also for a callable that is gone.
 */
bool catalog_is_tried(struct catalog *catalog, uint64_t key);
void catalog_set_tried(struct catalog *catalog, uint64_t key);
/* Undo one pin. */
void catalog_unpin(struct catalog *catalog, uint64_t key);

#endif
