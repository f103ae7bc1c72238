/*
 * What the front end and the engine of a node agree on. The front end (simpler-l3d) executes
 * `simpler-host engine` and talks to it over shared memory and one socket:
 *
 *   descriptor 3  control: a SOCK_SEQPACKET socket
 *   descriptor 4  the tensor arena, segment ENGINE_ARENA_SEGMENT
 *   descriptor 5  command memory: the ring of requests (record_task, front end to engine) and
 *                 behind it the ring of outcomes (record_outcome, engine to front end), each of
 *                 ENGINE_RING_BYTES
 *
 *   simpler-host engine --sub-workers N --arena-bytes N --node-id ID --log-level LEVEL
 *                       [--unlink PATH]...
 *
 * Control, engine to front end: one record_outcome with token 0 when its workers are up, or with
 * what went wrong. Front end to engine: record_install, with the module's descriptor the first
 * time; each is answered by a record_outcome whose token is the callable's key. A task may name a
 * callable only after that answer was SIMPLER_OK.
 *
 * Any number of requests are in flight; outcomes come in any order. A request's token is the front
 * end's to choose and is returned in its outcome.
 *
 * The engine ends when control closes, whatever it is doing: its workers are killed, and each PATH
 * (the daemon's unix socket, its port file) is removed, since a front end that was killed could
 * not. A front end that drains waits for its outcomes before it closes control.
 */
#ifndef NODE_ENGINE_LINK_H
#define NODE_ENGINE_LINK_H

#define ENGINE_CONTROL_FD 3
#define ENGINE_ARENA_FD   4
#define ENGINE_RINGS_FD   5

#define ENGINE_ARENA_SEGMENT 1u
#define ENGINE_RING_BYTES    (UINT64_C(1) << 20)
#define ENGINE_MAX_IN_FLIGHT 1024u /* requests */

#endif
