/*
 * What the front end and the engine of a node agree on. The front end (simpler-l3d) executes
 * `simpler-host engine` and talks to it over shared memory and one socket:
 *
 *   descriptor 3  control: a SOCK_SEQPACKET socket
 *   descriptor 4  the tensor arena, segment ENGINE_ARENA_SEGMENT
 *   descriptor 5  command memory: the ring of requests (record_task, record_stop, record_forget;
 *                 front end to engine), behind it the ring of outcomes (record_outcome, engine to
 *                 front end), each of ENGINE_RING_BYTES, and behind that the engine's bulletin
 *
 *   simpler-host engine --sub-workers N --arena-bytes N --node-id ID --log-level LEVEL
 *                       --heap-bytes N --stop-grace MS [--chips N --device NAME]
 *                       [--unlink PATH]...
 *
 * There are sub workers or chips, or both. --heap-bytes is the capacity of the engine's own heap,
 * for tensors that orchestration functions allocate.
 *
 * Control, engine to front end: one record_outcome with token 0 when its workers are up, or with
 * what went wrong. Front end to engine: record_install, with the module's descriptor the first
 * time; each is answered by a record_outcome whose token is the callable's key. A task may name a
 * callable only after that answer was SIMPLER_OK. And record_segment, for the memory of sessions:
 * it is not answered, as a task that is pushed after it was sent finds it there. One that says that
 * memory has ended comes when no task uses it any more.
 *
 * Any number of requests are in flight; outcomes come in any order. A request's token is the front
 * end's to choose and is returned in its outcome.
 *
 * A record_stop names a request by its token, behind that request's own record: it is to end early.
 * The engine has its run end with SIMPLER_ECANCELLED, and code below that goes on for longer than
 * --stop-grace is killed. The request is answered as ever, and only when nothing of it runs any
 * more, since the front end takes its storage back then. One that has been answered already, or was
 * stopped before, is left alone. An orchestration function that never returns cannot be ended in
 * this way: the front end waits for engine_stop_ms(), and kills the engine.
 *
 * A record_forget names a callable that is gone, so that the engine does not keep all that ever
 * were there. It comes when no task of it is in flight, and none follows.
 *
 * From its workers' being up on, the engine publishes its vitals (wire/vitals.h) as a bulletin,
 * each ENGINE_BEAT_MS, by a thread that does nothing else. One that does not for ENGINE_SILENT_MS
 * does not answer: it is stopped, or starved. The bulletin costs nothing on the way of a task, and
 * tells also of an engine whose main thread has a module to load for long.
 *
 * The engine ends when control closes, whatever it is doing: its workers are killed, and each PATH
 * (the daemon's unix socket, its port file) is removed, since a front end that was killed could
 * not. A front end that drains waits for its outcomes before it closes control.
 */
#ifndef NODE_ENGINE_LINK_H
#define NODE_ENGINE_LINK_H

#include "ipc/bulletin.h"
#include "ipc/ring.h"

#define ENGINE_CONTROL_FD 3
#define ENGINE_ARENA_FD   4
#define ENGINE_RINGS_FD   5

#define ENGINE_ARENA_SEGMENT 1u
#define ENGINE_RING_BYTES    (UINT64_C(1) << 20)
#define ENGINE_MAX_IN_FLIGHT 1024u /* requests */

#define ENGINE_BEAT_MS   250
#define ENGINE_SILENT_MS 1500

/* Of the command memory. */
static inline uint64_t engine_bulletin_at(void)
{
	return 2 * (uint64_t)ring_bytes(ENGINE_RING_BYTES);
}

static inline uint64_t engine_memory_bytes(void)
{
	return engine_bulletin_at() + sizeof(struct bulletin);
}

#endif
