/*
 * A worker: one level's engine, with the children below it.
 *
 *     create -> add children, load modules -> init -> run, run, ... -> close
 *
 * Children are processes of this machine (sub workers, chips, whole workers of the next level), or
 * remote nodes behind daemons; one run may submit to all of them. A program needs no care for its
 * own threads: processes are forked by a helper that has none.
 *
 * Thread-safety: several threads may run on one worker at once, allocate, and take handles from its
 * modules. Adding, loading, init and close are called by one thread, and close only when nothing
 * else is in progress.
 */
#ifndef SIMPLER_WORKER_H
#define SIMPLER_WORKER_H

#include "simpler/lane.h"
#include "simpler/orch.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct simpler_worker simpler_worker;
typedef struct simpler_module simpler_module;

/** Providers of libfabric. */
typedef enum simpler_fabric {
	SIMPLER_FABRIC_OFF = 0,
	SIMPLER_FABRIC_AUTO =
		1, /**< verbs where it is there, else tcp, else none, which is logged */
	SIMPLER_FABRIC_VERBS = 2, /**< InfiniBand, RoCE: "verbs;ofi_rxm" */
	SIMPLER_FABRIC_TCP = 3    /**< "tcp;ofi_rxm" */
} simpler_fabric;

typedef struct simpler_worker_options {
	size_t struct_size; /**< set by SIMPLER_WORKER_OPTIONS_INIT */
	unsigned level;     /**< 3 for sub workers and chips alone, 4 to 6 above that */
	/** how long init waits for the remote nodes, and asks them again while they are not
	 *  available */
	uint64_t connect_timeout_ms;
	uint32_t node_tasks; /**< tasks in progress on one node at once; 1 to 1024 */
	uint64_t heap_bytes; /**< capacity of the shared heap; memory is taken when used */
	uint32_t max_tasks;  /**< submitted and not ended, of all runs; 1 to 1,048,576 */
	/** What is cancelled or late and goes on all the same is killed so much later. */
	uint64_t stop_grace_ms;
	/**
	 * How long the nodes keep what this worker registered and stored there when they do not
	 * hear of it, because the program died or was cut off; 100 to 86,400,000. A thread of the
	 * worker tells them three times in that time.
	 */
	uint64_t session_ttl_ms;
	/**
	 * Each node is asked whether it is there once in heartbeat_interval_ms, and has
	 * heartbeat_timeout_ms to answer; when it fails to heartbeat_failures times in a row, it is
	 * lost: what was in progress there fails with SIMPLER_EUNAVAILABLE, and it is given nothing
	 * until it answers again and has been told every callable. So a node that stops, or is cut
	 * off, holds up nobody for longer than the interval and so many times the larger of the
	 * two. Both 1 to 3,600,000; failures 1 to 1000.
	 */
	uint64_t heartbeat_interval_ms, heartbeat_timeout_ms;
	uint32_t heartbeat_failures;
	/** Where libraries are on this machine; copied. NULL: they are on nodes only. */
	const char *library_dir;
	/** Whether tensors go to nodes by libfabric where a node has it as well (simpler-l3d
	 *  --fabric), and by which provider. One that is named and not here is an error. */
	simpler_fabric fabric;
	/** This machine's address for that, in numbers: nodes reach it there. Nobody is
	 *  authenticated by it. Read while the worker is created. */
	const char *fabric_address;
} simpler_worker_options;

#define SIMPLER_WORKER_OPTIONS_INIT                                                                \
	{                                                                                          \
		sizeof(simpler_worker_options), 4, 10000, 64, (uint64_t)1 << 30, 65536, 1000,      \
			60000, 1000, 2000, 3, NULL, SIMPLER_FABRIC_OFF, "127.0.0.1"                \
	}

/**
 * @param options  NULL means SIMPLER_WORKER_OPTIONS_INIT.
 * @param[out] out Set on SIMPLER_OK; release with simpler_worker_close().
 * @return SIMPLER_EINVAL for an option out of its range, which the message names;
 *         SIMPLER_EUNAVAILABLE when the fabric that was named is not there for fabric_address;
 *         SIMPLER_ENOMEM.
 */
SIMPLER_API simpler_status simpler_worker_create(const simpler_worker_options *options,
                                                 simpler_worker **out);

/**
 * Add `count` sub workers: processes of this machine that run sub tasks. Before init, which starts
 * them. Any level may have some.
 *
 * @param[out] first  The id of the first; the others follow. May be NULL.
 * @return SIMPLER_ESTATE after init, SIMPLER_ENOSPACE past 256 children of this machine, or 512 in
 *         all; none is added then.
 */
SIMPLER_API simpler_status simpler_worker_add_subs(simpler_worker *worker, uint32_t count,
                                                   simpler_worker_id *first);

/**
 * Add `count` chips, devices 0 to count - 1 of `device`, such as "sim"; see simpler/device.h. Each
 * gets a process of its own. Only for a worker of level 3. Otherwise as simpler_worker_add_subs().
 */
SIMPLER_API simpler_status simpler_worker_add_chips(simpler_worker *worker, uint32_t count,
                                                    const char *device, simpler_worker_id *first);

/** A worker of the next level down in a process of this machine, and what is below it. */
typedef struct simpler_local_options {
	size_t struct_size;   /**< set by SIMPLER_LOCAL_OPTIONS_INIT */
	uint32_t sub_workers; /**< at least one of these three is not 0 */
	uint32_t chips;       /**< level 3 only */
	uint32_t worker_count;
	const struct simpler_local_options *workers; /**< worker_count of them; above level 3 */
	const char *device;                          /**< of the chips */
	uint64_t heap_bytes;                         /**< of its own shared heap */
} simpler_local_options;

#define SIMPLER_LOCAL_OPTIONS_INIT                                                                 \
	{                                                                                          \
		sizeof(simpler_local_options), 0, 0, 0, NULL, "sim", (uint64_t)1 << 30             \
	}

/**
 * Add a worker of the next level down as a process of this machine. It runs orchestration functions
 * of modules, and the tensors of this worker's heap are its own children's, too. Before init.
 *
 * @param[out] out  Its id; may be NULL.
 * @return SIMPLER_EINVAL for a tree that cannot be, with the reason; SIMPLER_ESTATE after init;
 *         SIMPLER_ENOSPACE past 256 children of this machine, or 64 workers in one tree.
 */
SIMPLER_API simpler_status simpler_worker_add_local(simpler_worker *worker,
                                                    const simpler_local_options *options,
                                                    simpler_worker_id *out);

/**
 * Add the node behind a daemon at `address`: "host:port" or "unix:/path". Before init; does not
 * connect yet.
 *
 * @param[out] out  Its id as a child of this worker; may be NULL.
 * @return SIMPLER_EINVAL for what is no address or a worker of level 3, SIMPLER_ESTATE after init,
 *         SIMPLER_ENOSPACE past 512 children.
 */
SIMPLER_API simpler_status simpler_worker_add_remote(simpler_worker *worker, const char *address,
                                                     simpler_worker_id *out);

/** What may be said of a node when it is added. */
typedef struct simpler_node_options {
	size_t struct_size; /**< set by SIMPLER_NODE_OPTIONS_INIT */
	/** How dispatches go there. One that is named and cannot be had fails init. One that is
	 *  lost later is replaced by calls, which is logged once and counted, and tried again. */
	simpler_lane lane;
} simpler_node_options;

#define SIMPLER_NODE_OPTIONS_INIT                                                                  \
	{                                                                                          \
		sizeof(simpler_node_options), SIMPLER_LANE_AUTO                                    \
	}

/**
 * As simpler_worker_add_remote(), with options, of which NULL means the defaults.
 *
 * @return Also SIMPLER_EINVAL for another struct_size, or what is no lane.
 */
SIMPLER_API simpler_status simpler_worker_add_remote_with(simpler_worker *worker,
                                                          const char *address,
                                                          const simpler_node_options *options,
                                                          simpler_worker_id *out);

/**
 * Read a module: a shared object built from a file that includes simpler/module.h. Its code is not
 * run here; it travels to the nodes that need it. Before or after init. The module belongs to the
 * worker and lives until it closes. The file may change or go afterwards.
 *
 * The signature beside it, `path`.sig as simpler(1) writes it, travels with the module. It is read
 * when there is one, and not checked against a key here: that is for the nodes, which know whom
 * they trust. A module that was loaded before keeps the signature that it had then.
 *
 * @return SIMPLER_ESYSTEM when a file cannot be read; SIMPLER_EINVAL when it is no module, with
 *         what is wrong with it, or when the signature file is broken or of other bytes.
 */
SIMPLER_API simpler_status simpler_module_load(simpler_worker *worker, const char *path,
                                               simpler_module **out);

/**
 * A library by the name under which it is installed: a module as for simpler_module_load(), which
 * does not travel. Each node finds it in the directory that its daemon was given, and this machine
 * in options.library_dir, as the file of that name. Before or after init. No node is asked here: a
 * node that lacks the library, or lacks in it what a handle is taken of, says so when that is
 * registered.
 *
 * Without library_dir its callables run on nodes only, and what they are is for the nodes to check:
 * a submit that would bring one to a child of this machine is refused. With library_dir the file is
 * read now; it may change or go afterwards.
 *
 * @param name 1 to 63 letters, digits, '_', '-', '+' and '.', the first of them no '.'; no path.
 * @return SIMPLER_EINVAL for another name; of the file in library_dir as simpler_module_load().
 */
SIMPLER_API simpler_status simpler_library_open(simpler_worker *worker, const char *name,
                                                simpler_module **out);

/**
 * Register a callable of a module or library, with captured state: at most SIMPLER_STATE_MAX bytes,
 * copied. The same module, name and state give the same handle, and count one registration more;
 * see simpler_unregister_sub(). Before or after init, from any thread.
 *
 * After init this makes an orchestration function known on all nodes, or on none: it returns when
 * all have loaded and accepted it; when one does not, or is lost meanwhile, it is undone on the
 * others, and may be tried again. A node that was lost before is passed over, and told when it is
 * back. Before, init does the same. A module travels to a node that does
 * not have it, once. Blocks for two round trips, and for as long as it takes to send and to load
 * the module: a minute and a tenth of a second per MiB at most, and 40 seconds more to undo it.
 *
 * @return SIMPLER_ENOTFOUND when the module declares no such name (the message lists what it
 *         declares); SIMPLER_EKIND when it is of another kind; SIMPLER_ENOSPACE when 4096 callables
 *         are registered; after init also what a node answered, with its name, as listed at
 *         simpler_worker_init(), of several nodes what the first of them did; nothing is
 *         registered then.
 */
SIMPLER_API simpler_status simpler_module_orch_fn(simpler_module *module, const char *name,
                                                  simpler_bytes state, simpler_orch_fn *out);
SIMPLER_API simpler_status simpler_module_sub(simpler_module *module, const char *name,
                                              simpler_bytes state, simpler_sub *out);
SIMPLER_API simpler_status simpler_module_chip(simpler_module *module, const char *name,
                                               simpler_bytes state, simpler_chip *out);

/** What may be said of a callable when it is registered. */
typedef struct simpler_callable_options {
	size_t struct_size; /**< set by SIMPLER_CALLABLE_OPTIONS_INIT */
	/**
	 * A task of it does no harm when it runs twice, in part or whole: what it writes does not
	 * depend on what it wrote before. Then a task that was lost with its node, or with that
	 * node's engine, runs again on another one that may take it, or there when it was not lost
	 * with the node, three times more at the most. Tasks of other callables never run twice.
	 */
	bool idempotent;
} simpler_callable_options;

#define SIMPLER_CALLABLE_OPTIONS_INIT                                                              \
	{                                                                                          \
		sizeof(simpler_callable_options), false                                            \
	}

/**
 * As simpler_module_orch_fn(), with options, of which NULL means the defaults. They are no part of
 * what the callable is: one that is registered with them and without has two handles, and is sent
 * to the nodes once.
 *
 * @return Also SIMPLER_EINVAL for another struct_size.
 */
SIMPLER_API simpler_status simpler_module_orch_fn_with(simpler_module *module, const char *name,
                                                       simpler_bytes state,
                                                       const simpler_callable_options *options,
                                                       simpler_orch_fn *out);

/**
 * Take back one registration of a handle that this worker's program took, whatever it is of. Each
 * has to be taken back; with the last one:
 *
 * - The handle is stale from the call on: a submit of it is refused with SIMPLER_ESTALE. To
 *   register the same again gives another handle.
 * - Tasks that were submitted before run as ever, and this waits until they have ended.
 * - Then nodes drop it, and its place is free for another callable.
 *
 * Blocks for at most `timeout_ms`; 0 does not wait. May be called from any thread, also while
 * others submit, and from within a run. Modules stay.
 *
 * @return SIMPLER_EDEADLINE when it has not come to its end in that time, which changes nothing
 *         about it: the handle is stale, and the rest follows when the last task has ended.
 *         SIMPLER_ESTALE for a handle that was not given out, or was unregistered, or that a run
 *         took for itself, such as by simpler_orch_sub(); SIMPLER_EKIND for one of another kind. A
 *         node that does not answer within 10 seconds is left to drop it when the session ends, and
 *         is no failure.
 */
SIMPLER_API simpler_status simpler_unregister_orch_fn(simpler_worker *worker,
                                                      simpler_orch_fn handle, uint64_t timeout_ms);
SIMPLER_API simpler_status simpler_unregister_sub(simpler_worker *worker, simpler_sub handle,
                                                  uint64_t timeout_ms);
SIMPLER_API simpler_status simpler_unregister_chip(simpler_worker *worker, simpler_chip handle,
                                                   uint64_t timeout_ms);

/**
 * Start the children: fork those of this machine, connect to the remote nodes, ship what was
 * registered. Blocks until all are up or one failed; a worker whose init failed can only be closed.
 *
 * @return SIMPLER_ESTATE when it was called before; SIMPLER_EUNAVAILABLE when a node does not
 * answer within connect_timeout_ms, or the lane that was named for it is not to be had;
 *         SIMPLER_ENOTFOUND when the program simpler-host, which they run in, is not found, and
 *         SIMPLER_EVERSION when it is of another version. What a node answered to a callable, with
 *         its name: SIMPLER_EPERM when its policy does not let the code in; SIMPLER_ENOTFOUND for a
 *         library or a name in it that is not there; SIMPLER_ESTALE for another callable ABI or
 *         wire version, a status that FAILED_PRECONDITION becomes; SIMPLER_ENOSPACE for a limit of
 *         its own; SIMPLER_EINVAL when it cannot load the module.
 */
SIMPLER_API simpler_status simpler_worker_init(simpler_worker *worker);

/**
 * Run an orchestration function in the calling thread and wait for all it submitted. `args`,
 * `config` and `state` are handed to it as they are and may be NULL or empty.
 *
 * @return SIMPLER_OK, or the first root failure: what `fn` returned, or what failed below it.
 *         simpler_last_error() has the chain. The worker stays usable. SIMPLER_ESTATE, without a
 *         run, unless simpler_worker_init() has succeeded; SIMPLER_EINVAL for no function, or a
 *         config that cannot be, as the message says.
 */
SIMPLER_API simpler_status simpler_run(simpler_worker *worker, simpler_orch_function *fn,
                                       const simpler_args *args, const simpler_config *config,
                                       simpler_bytes state);

typedef struct simpler_run_options {
	size_t struct_size;           /**< set by SIMPLER_RUN_OPTIONS_INIT */
	const simpler_config *config; /**< handed to the function; NULL means the defaults */
	/** From the call on. Then the run fails with SIMPLER_EDEADLINE, as if it were cancelled. */
	uint64_t timeout_ms;
	bool auto_import; /**< of all its submits; see simpler_submit_options */
} simpler_run_options;

#define SIMPLER_RUN_OPTIONS_INIT                                                                   \
	{                                                                                          \
		sizeof(simpler_run_options), NULL, SIMPLER_FOREVER, false                          \
	}

/** A run in progress, or ended; or what simpler_tensor_write_async() and its like have begun, of
 * which the same is true. Its functions may be called from any thread. */
typedef struct simpler_completion simpler_completion;

/**
 * Begin a run in a thread of the worker, and return at once. `args` are copied, `state` is copied,
 * and what its tensors describe stays valid until the run has ended.
 *
 * @param options  NULL means the defaults.
 * @param[out] out Set on SIMPLER_OK; release with simpler_completion_destroy().
 * @return SIMPLER_ENOSPACE past 256 runs at once in threads of the worker; SIMPLER_ESTATE and
 *         SIMPLER_EINVAL as simpler_run(), the latter for another struct_size, too; SIMPLER_ENOMEM;
 *         SIMPLER_ESYSTEM when no thread can be started.
 */
SIMPLER_API simpler_status simpler_run_async(simpler_worker *worker, simpler_orch_function *fn,
                                             const simpler_args *args,
                                             const simpler_run_options *options,
                                             simpler_bytes state, simpler_completion **out);

/** Whether the run has ended. Never blocks. */
SIMPLER_API bool simpler_completion_poll(const simpler_completion *completion);
/** Wait for its end, at most `timeout_ms`. False when it goes on; at once in the thread of its own
 *  orchestration function, which it goes on for. */
SIMPLER_API bool simpler_completion_wait(simpler_completion *completion, uint64_t timeout_ms);
/** A descriptor that is readable from the end of the run on; for poll() and its like, not to be
 * read or closed. -1 when none could be made. */
SIMPLER_API int simpler_completion_fd(simpler_completion *completion);
/** What simpler_run() would have returned, with simpler_last_error(). SIMPLER_ESTATE while the run
 *  goes on. */
SIMPLER_API simpler_status simpler_completion_result(const simpler_completion *completion);
/**
 * Cancel the run: it takes no more submits, tasks that have not begun never will, those that run
 * and its orchestration function see simpler_should_stop(), and after the worker's grace period the
 * tasks' processes are killed. The run then fails with SIMPLER_ECANCELLED. Does not wait; a run
 * that has ended stays as it is. A function of this program is never killed: it returns when it
 * returns.
 */
SIMPLER_API void simpler_completion_cancel(simpler_completion *completion);
/** As simpler_cancel(), also when the orchestration function has returned. */
SIMPLER_API simpler_status simpler_completion_cancel_task(simpler_completion *completion,
                                                          simpler_task task);
/**
 * Wait for the run's end and release it. NULL is allowed.
 *
 * @return SIMPLER_ESTATE, having done nothing, in the thread of the run's own orchestration
 * function, which would wait for itself. Nothing else fails.
 */
SIMPLER_API simpler_status simpler_completion_destroy(simpler_completion *completion);

/**
 * Allocate a tensor in the worker's shared heap, where children of this machine use it in place, as
 * SIMPLER_SHARED. Its bytes are undefined. It lives until simpler_free() or the worker's close.
 * Before or after init. See simpler_orch_alloc() for what lives no longer than a run.
 *
 * @return SIMPLER_EINVAL for what simpler_tensor_init() refuses; SIMPLER_ENOSPACE at once when the
 *         heap has no room, naming its capacity, what is used and what was asked.
 */
SIMPLER_API simpler_status simpler_alloc(simpler_worker *worker, simpler_dtype dtype, uint32_t ndim,
                                         const int64_t *shape, simpler_tensor *out);
/**
 * Return what simpler_alloc() gave, by its address; what simpler_orch_alloc() gave may be returned
 * early like this, too. From then on no submit may use it. Its storage goes when the last task that
 * was submitted with it has ended.
 *
 * @return SIMPLER_EINVAL for what they did not give, or was freed already.
 */
SIMPLER_API simpler_status simpler_free(simpler_worker *worker, void *data);

/** Bytes of tensors, without what carries them. */
typedef struct simpler_tensor_traffic {
	uint64_t sent, received;
} simpler_tensor_traffic;

/** What went to a child and came from it so far, other than in memory shared with all children. */
typedef struct simpler_traffic {
	size_t struct_size;             /**< set by SIMPLER_TRAFFIC_INIT */
	uint64_t module_bytes_sent;     /**< of modules' files, without what carries them */
	simpler_tensor_traffic inlined; /**< SIMPLER_INLINE, inside dispatches and their answers */
	simpler_tensor_traffic stream;  /**< by SIMPLER_TRANSPORT_STREAM */
	simpler_tensor_traffic shm;     /**< by SIMPLER_TRANSPORT_SHM */
	simpler_tensor_traffic fabric;  /**< by SIMPLER_TRANSPORT_FABRIC */
	/** How often a transfer by a fabric failed and went by a stream instead, which it does only
	 *  where SIMPLER_TRANSPORT_AUTO had chosen that. */
	uint64_t fabric_fallbacks;
	uint64_t auto_moves;      /**< whose transport SIMPLER_TRANSPORT_AUTO has chosen */
	uint64_t staging_reused;  /**< SIMPLER_STAGED tensors that got storage of an earlier one */
	simpler_lane lane;        /**< that dispatches go by at the moment; AUTO with none */
	uint64_t lane_losses;     /**< how often a lane died while the node stayed */
	uint64_t dispatches;      /**< sent, those that were sent again among them */
	uint64_t lane_dispatches; /**< of those, by another lane than SIMPLER_LANE_UNARY */
	uint64_t lane_batches;    /**< in so many messages */
} simpler_traffic;

#define SIMPLER_TRAFFIC_INIT                                                                       \
	{                                                                                          \
		sizeof(simpler_traffic), 0, { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, 0, 0, 0,       \
			SIMPLER_LANE_AUTO, 0, 0, 0, 0                                              \
	}

/**
 * What moved between this process and the child with this id; nothing, with one of this machine. At
 * any time, from any thread; does not block.
 *
 * @param[in,out] out  Begin it with SIMPLER_TRAFFIC_INIT.
 * @return SIMPLER_EINVAL for an id that is no child's, and for another struct_size.
 */
SIMPLER_API simpler_status simpler_worker_traffic(const simpler_worker *worker,
                                                  simpler_worker_id child, simpler_traffic *out);

/** Stop the children and release everything, modules included, and what it had on its nodes. A node
 * that does not answer holds this up for a second or two. Completions of its runs are destroyed
 * before. NULL is allowed. */
SIMPLER_API void simpler_worker_close(simpler_worker *worker);

#ifdef __cplusplus
}
#endif

#endif
