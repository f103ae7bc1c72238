/*
 * Tensors on nodes: storage that a program allocates there, writes, reads, and has tasks use where
 * it is.
 *
 * A handle names storage on one node. It outlives runs; any number of tasks of any runs use it, in
 * place and with no byte sent along, ordered by the graph as tensors of this process are. It lives
 * until simpler_tensor_free() or the worker's close. The worker renews its lease in the background;
 * when this process dies or is cut off, the node keeps it no longer than the session's time to
 * live.
 *
 * Writing and reading here is not ordered with tasks: have the run end first, or give each its own
 * range. Bytes that a failed write or read was to fill may be any; errors say so.
 *
 * All functions may be called from any thread, once the worker is initialized and until it closes.
 * Those without a completion block, at most for `timeout_ms` of their options, which counts from
 * the call on; then they fail with SIMPLER_EDEADLINE.
 *
 * Those that end in `_async` do not wait for the node. They refuse at once what can be seen to be
 * wrong here, and give out a completion of all else, with the same deadline: it fails as the
 * function that waits does, and with SIMPLER_ECANCELLED after simpler_completion_cancel(). Release
 * it with simpler_completion_destroy(), which waits for its end, before the worker is closed.
 *
 * What is late or cancelled may have been done on the node all the same. Storage that was made
 * there so, of which nobody has a handle, stays until the worker closes.
 *
 * All of them fail with SIMPLER_EUNAVAILABLE, naming the node, when it is lost; with SIMPLER_ESTALE
 * for a handle that was freed, of another worker, or whose node was started anew; with
 * SIMPLER_ESTATE for a tensor that the task or the call which is to make it has not made yet, and
 * before the worker is initialized; and with SIMPLER_EINVAL for options of another struct_size.
 * simpler_tensor_free() takes what is not on its node for freed.
 */
#ifndef SIMPLER_REMOTE_TENSOR_H
#define SIMPLER_REMOTE_TENSOR_H

#include "simpler/handle.h"
#include "simpler/worker.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Options of all functions here. Each looks at what concerns it. */
typedef struct simpler_tensor_options {
	size_t struct_size;          /**< set by SIMPLER_TENSOR_OPTIONS_INIT */
	uint64_t timeout_ms;         /**< of the whole call */
	uint64_t ttl_ms;             /**< of new storage: its lease; 0 is the node's choice */
	simpler_transport transport; /**< of a write or a read */
	bool read_only;              /**< of new storage: no task and no write may change it */
} simpler_tensor_options;

#define SIMPLER_TENSOR_OPTIONS_INIT                                                                \
	{                                                                                          \
		sizeof(simpler_tensor_options), 60000, 0, SIMPLER_TRANSPORT_AUTO, false            \
	}

/**
 * Allocate storage for a tensor on a node. Fresh storage reads as zero.
 *
 * @param node     Its id as a child of this worker.
 * @param options  NULL means the defaults, here and below.
 * @param[out] out Set on SIMPLER_OK; release with simpler_tensor_free().
 * @return SIMPLER_EINVAL for what simpler_tensor_init() refuses, and for a child of this machine,
 *         which shares memory with this process: use simpler_alloc(); SIMPLER_ENOSPACE when the
 *         node's pool has no room, with what was asked, what is used, and its capacity, or when all
 *         handles are taken: the node's, this session's there, or the 1,048,576 of this worker.
 */
SIMPLER_API simpler_status simpler_tensor_alloc(simpler_worker *worker, simpler_worker_id node,
                                                simpler_dtype dtype, uint32_t ndim,
                                                const int64_t *shape,
                                                const simpler_tensor_options *options,
                                                simpler_tensor_handle *out);
/** The same without waiting.
 *  @param[out] handle Set with `out`, and to be used once the completion has ended well: until then
 *                     that is SIMPLER_ESTATE, and after a failure SIMPLER_ESTALE. */
SIMPLER_API simpler_status simpler_tensor_alloc_async(simpler_worker *worker,
                                                      simpler_worker_id node, simpler_dtype dtype,
                                                      uint32_t ndim, const int64_t *shape,
                                                      const simpler_tensor_options *options,
                                                      simpler_tensor_handle *handle,
                                                      simpler_completion **out);

/**
 * Give storage back. From then on no submit, write or read may use the handle. The storage goes
 * when the last task that was submitted with it has ended; only if that is now does this wait for
 * the node.
 */
SIMPLER_API simpler_status simpler_tensor_free(simpler_worker *worker, simpler_tensor_handle handle,
                                               const simpler_tensor_options *options);
/** The same without waiting. The handle names nothing from this call on. */
SIMPLER_API simpler_status simpler_tensor_free_async(simpler_worker *worker,
                                                     simpler_tensor_handle handle,
                                                     const simpler_tensor_options *options,
                                                     simpler_completion **out);

/** Bytes on the node: `runs` of `run_bytes` each, the first at `offset`, each next one `pitch`
 * bytes behind the start of the last. With one run `pitch` is of no matter. */
typedef struct simpler_span {
	uint64_t offset, run_bytes, pitch, runs;
} simpler_span;

/**
 * Write the elements of a tensor of this process into storage, or read them from there.
 *
 * @param span    Where they are there: as many bytes as `local` has. NULL: from the beginning on.
 * @param local   Where they are here, in row-major order of its indexes; with any strides.
 * @return SIMPLER_EINVAL for a span of another size, or past the storage's end; SIMPLER_EPERM for a
 *         write to what is read-only; SIMPLER_EUNAVAILABLE for a named transport that is not there;
 *         SIMPLER_ESTATE when the task, or the call without waiting, that is to make the storage
 *         has not.
 */
SIMPLER_API simpler_status simpler_tensor_write(simpler_worker *worker,
                                                simpler_tensor_handle handle,
                                                const simpler_span *span,
                                                const simpler_tensor *local,
                                                const simpler_tensor_options *options);
SIMPLER_API simpler_status simpler_tensor_read(simpler_worker *worker, simpler_tensor_handle handle,
                                               const simpler_span *span,
                                               const simpler_tensor *local,
                                               const simpler_tensor_options *options);

/** The same without waiting: what `local` describes is the runtime's until the completion has
 * ended. Where memory is shared with the node the bytes are copied before the call returns. */
SIMPLER_API simpler_status simpler_tensor_write_async(simpler_worker *worker,
                                                      simpler_tensor_handle handle,
                                                      const simpler_span *span,
                                                      const simpler_tensor *local,
                                                      const simpler_tensor_options *options,
                                                      simpler_completion **out);
SIMPLER_API simpler_status simpler_tensor_read_async(simpler_worker *worker,
                                                     simpler_tensor_handle handle,
                                                     const simpler_span *span,
                                                     const simpler_tensor *local,
                                                     const simpler_tensor_options *options,
                                                     simpler_completion **out);

/**
 * Where the storage is in this process: for a node on this machine, which shares it. What is
 * written there is written; no call is needed, and none orders it with tasks. Good until the handle
 * is freed. When the node has lost the tensor the address stays valid, and leads to memory that is
 * nobody's: mapping it again is SIMPLER_ESTALE as soon as the next heartbeat has told.
 *
 * @return SIMPLER_EUNAVAILABLE when the node shares no memory with this process: write and read
 * then.
 */
SIMPLER_API simpler_status simpler_tensor_map(simpler_worker *worker, simpler_tensor_handle handle,
                                              void **out);

/** Have its lease last `ttl_ms` of the options from now on. The worker does so by itself for what
 * it has; this is for who wants more, and to find out whether the storage is there. */
SIMPLER_API simpler_status simpler_tensor_refresh(simpler_worker *worker,
                                                  simpler_tensor_handle handle,
                                                  const simpler_tensor_options *options);
/** The same without waiting. */
SIMPLER_API simpler_status simpler_tensor_refresh_async(simpler_worker *worker,
                                                        simpler_tensor_handle handle,
                                                        const simpler_tensor_options *options,
                                                        simpler_completion **out);

/**
 * Storage on another node with the same bytes. They go from node to node: this process tells the
 * two of each other. The new storage is its own, and the old one stays.
 *
 * @return as simpler_tensor_alloc(); SIMPLER_EUNAVAILABLE also when the nodes cannot reach each
 *         other by the addresses that this worker knows them by, and SIMPLER_EPERM when the new
 *         one may not go to the other's: see simpler_tensor_import().
 */
SIMPLER_API simpler_status simpler_tensor_bring(simpler_worker *worker,
                                                simpler_tensor_handle handle,
                                                simpler_worker_id node,
                                                const simpler_tensor_options *options,
                                                simpler_tensor_handle *out);
/** The same without waiting; `brought` as of simpler_tensor_alloc_async(). The old storage may be
 *  freed meanwhile, and stays as long as it is needed. */
SIMPLER_API simpler_status simpler_tensor_bring_async(simpler_worker *worker,
                                                      simpler_tensor_handle handle,
                                                      simpler_worker_id node,
                                                      const simpler_tensor_options *options,
                                                      simpler_tensor_handle *brought,
                                                      simpler_completion **out);

/** Lets who has it import a tensor: for another program, which gets it by any way. Its token is a
 *  secret. */
typedef struct simpler_tensor_grant {
	char address[112]; /**< of the node's daemon */
	char node_id[64];
	uint64_t handle_id, nbytes;
	uint8_t token[16];
	bool writable;
} simpler_tensor_grant;

/**
 * Grant others the use of a tensor, for `ttl_ms` of the options. Its storage is kept until then,
 * and as long as somebody on the same node has imported it, also when it is freed here.
 *
 * @param writable  Those who import it on the same node may write to it, and so to this tensor.
 * @return SIMPLER_EPERM for `writable` and a handle that is for reading only; SIMPLER_ENOSPACE when
 *         the node has given as many grants as it can, in all or to this session.
 */
SIMPLER_API simpler_status simpler_tensor_export(simpler_worker *worker,
                                                 simpler_tensor_handle handle, bool writable,
                                                 const simpler_tensor_options *options,
                                                 simpler_tensor_grant *out);
/** The same without waiting.
 *  @param[out] grant Filled in when the completion ends well; it stays where it is until the end.
 */
SIMPLER_API simpler_status simpler_tensor_export_async(simpler_worker *worker,
                                                       simpler_tensor_handle handle, bool writable,
                                                       const simpler_tensor_options *options,
                                                       simpler_tensor_grant *grant,
                                                       simpler_completion **out);

/**
 * A tensor of this worker of what another program granted: on the granting node the same bytes, on
 * any other a copy, which that one gets from there. Unless the grant is writable, it is for reading
 * only.
 *
 * @return SIMPLER_EPERM when the granting node knows no grant with this token: it is wrong, was
 *         released, or its time is over; also when the address leads farther than the importing
 *         node's own, which listens at a loopback address or a unix socket. SIMPLER_EINVAL for a
 *         grant that simpler_tensor_export() has not filled in, and for a child of this machine;
 *         SIMPLER_EUNAVAILABLE when no daemon answers at the grant's address; SIMPLER_EPROTOCOL
 *         when the tensor has another size than the grant says; SIMPLER_EDEADLINE when nothing
 *         comes from the other node for as long as the daemon's --import-timeout; SIMPLER_ENOSPACE
 *         as simpler_tensor_alloc(), and when the node imports from as many others as it can.
 */
SIMPLER_API simpler_status simpler_tensor_import(simpler_worker *worker, simpler_worker_id node,
                                                 const simpler_tensor_grant *grant,
                                                 const simpler_tensor_options *options,
                                                 simpler_tensor_handle *out);
/** The same without waiting; `handle` as of simpler_tensor_alloc_async(). */
SIMPLER_API simpler_status simpler_tensor_import_async(simpler_worker *worker,
                                                       simpler_worker_id node,
                                                       const simpler_tensor_grant *grant,
                                                       const simpler_tensor_options *options,
                                                       simpler_tensor_handle *handle,
                                                       simpler_completion **out);

/**
 * End a grant of this tensor; what was imported by it stays.
 *
 * @return SIMPLER_EPERM when there is no such grant, or no more: the token is wrong, it was
 * released, or its time is over; SIMPLER_EINVAL for one that simpler_tensor_export() has not filled
 *         in; SIMPLER_ENOTFOUND for one of another node than the handle's.
 */
SIMPLER_API simpler_status simpler_tensor_release_grant(simpler_worker *worker,
                                                        simpler_tensor_handle handle,
                                                        const simpler_tensor_grant *grant,
                                                        const simpler_tensor_options *options);
/** The same without waiting. */
SIMPLER_API simpler_status simpler_tensor_release_grant_async(simpler_worker *worker,
                                                              simpler_tensor_handle handle,
                                                              const simpler_tensor_grant *grant,
                                                              const simpler_tensor_options *options,
                                                              simpler_completion **out);

/**
 * Its size and its node, either of which may be NULL. Does not ask the node, so that it neither
 * blocks nor fails when that is lost, and needs no initialized worker.
 *
 * @return SIMPLER_ESTALE for a handle that was freed, or is of another worker.
 */
SIMPLER_API simpler_status simpler_tensor_look(simpler_worker *worker, simpler_tensor_handle handle,
                                               uint64_t *nbytes, simpler_worker_id *node);

#ifdef __cplusplus
}
#endif

#endif
