/*
 * The callables that a node's front end knows, and the modules they come from. The front end
 * keeps them so that a new engine can be given all of them again; it never loads one.
 *
 *     catalog_offer() -> PENDING -- catalog_settle(true) --> VISIBLE -- catalog_blame() -> gone
 *                           `------ catalog_settle(false) -> gone
 *
 * A callable is pending while the caller installs it in the engine; dispatches find it only when
 * it is visible. Which callables the engine of the day has is the caller's to know: after a
 * restart it goes through all of them with catalog_next(), the pending ones included.
 *
 * Thread-safe. Nothing here waits for an engine, and only offers of new modules wait for each
 * other while one is copied.
 */
#ifndef CATALOG_CATALOG_H
#define CATALOG_CATALOG_H

#include <stdbool.h>

#include "catalog/payload.h"
#include "catalog/policy.h"

struct catalog;

struct catalog_limits {
	size_t callables; /* of at most SIMPLER_STATE_MAX bytes of captured state each */
	size_t modules;   /* each takes a descriptor and a mapping */
	uint64_t module_bytes;
};

#define CATALOG_LIMITS_INIT                                                                        \
	{                                                                                          \
		4096, 256, UINT64_C(1) << 30                                                       \
	}

enum catalog_state { CATALOG_PENDING, CATALOG_VISIBLE };

/*
 * A callable, as a value. What `payload` points to and `module_fd` belong to the catalog: they last
 * as long as it does for a callable that is or was visible, and until catalog_settle() for a
 * pending one.
 */
struct catalog_entry {
	uint64_t key; /* what record_task.callable and record_install.callable carry; counts from 1,
	                 never used twice */
	uint64_t callable_id, version;
	struct digest digest;
	enum catalog_state state;
	struct payload payload; /* with the module's bytes: what to answer to PullCallable */
	int module_fd;          /* a sealed memfd */
};

/* `policy` is borrowed: it says of each offer, of a known callable too, whether it may come in.
 * NULL when memory is out. */
struct catalog *catalog_create(const struct catalog_limits *limits, struct policy *policy);
void catalog_destroy(struct catalog *catalog);

/*
 * Take in `pushed`, a CallablePayload.pickled; `version` 0 means "whatever it is". Everything is
 * checked before anything is kept.
 *
 * @param[out] fresh  True: this call made the callable known, so install it in the engine and
 *                    settle it. False: it was known; `out` says whether it is still pending.
 * @return SIMPLER_EINVAL for callable id 0, a version that is not the digest's, a bad payload or a
 *         bad module; SIMPLER_EVERSION; SIMPLER_EKIND; SIMPLER_ENOTFOUND for a name that the module
 *         does not declare, or a payload by digest of a module that is not known here: send it with
 *         the module's bytes; SIMPLER_EEXIST when id and version are taken by another digest;
 *         SIMPLER_ENOSPACE naming the limit; SIMPLER_EPERM when the policy does not allow it.
 */
simpler_status catalog_offer(struct catalog *catalog, uint64_t callable_id, uint64_t version,
                             simpler_bytes pushed, struct catalog_entry *out, bool *fresh);

/*
 * The engine's answer for a pending callable: visible from now on, or gone. A key that is not
 * pending is left alone: a later engine answers for what an earlier one had.
 */
void catalog_settle(struct catalog *catalog, uint64_t key, bool installed);

#define CATALOG_MOST_DEATHS 3u /* of engines in a row; so many others kill hardly by chance */

/*
 * An engine ended while it loaded this visible callable. At the CATALOG_MOST_DEATHS-th time in a
 * row the callable is gone, or no engine would ever have all of them; catalog_settle() with true
 * begins a new row. Its place and storage stay taken, since somebody may have found it. A callable
 * that is not visible is left alone.
 *
 * @return True: it is gone.
 */
bool catalog_blame(struct catalog *catalog, uint64_t key);

/*
 * The visible callable of this id and version; 0 means the newest: the one pushed last.
 *
 * @return SIMPLER_ENOTFOUND for an unknown id; SIMPLER_ESTATE naming the versions there are, or
 *         saying that it is still being installed.
 */
simpler_status catalog_find(struct catalog *catalog, uint64_t callable_id, uint64_t version,
                            struct catalog_entry *out);

/* False when it is gone. */
bool catalog_get(struct catalog *catalog, uint64_t key, struct catalog_entry *out);

/* The callable with the lowest key above `after`, whatever its state; false past the last. */
bool catalog_next(struct catalog *catalog, uint64_t after, struct catalog_entry *out);

#endif
