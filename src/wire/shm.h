/*
 * What a parent and a daemon on one machine say about shared memory.
 *
 * A handle whose bytes lie in its session's own segment has the transport "shm", and says where
 * they are in its transport_desc: a place, in SHM_PLACE_BYTES, all fields little-endian:
 *
 *   u32 version = 1, u32 segment, u64 offset, u64 nbytes
 *
 * The segment itself is asked for over an abstract unix socket (SOCK_SEQPACKET): one ask, answered
 * by one answer, beside which the memory's descriptor travels (SCM_RIGHTS) when its status is
 * SIMPLER_OK. The daemon closes the connection then. A lane for dispatches (ipc/lane_memory.h) is
 * asked for likewise; beside the ask travels the memory of the client's bells. That connection
 * stays open as long as the lane, and when the daemon closes it, it says why by another answer. Ask
 * and answer are native-endian, since they never leave the machine.
 *
 * The decoders return SIMPLER_EPROTOCOL for what is malformed or of another version.
 */
#ifndef WIRE_SHM_H
#define WIRE_SHM_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define SHM_TRANSPORT   "shm"
#define SHM_VERSION     1u
#define SHM_PLACE_BYTES 24u
#define SHM_ASK_MAX     20u
#define SHM_TEXT_MAX    255u
#define SHM_ANSWER_MAX  (24u + SHM_TEXT_MAX)

/* Bytes [offset, offset + nbytes) of the segment; that fits 63 bits in a decoded one. */
struct shm_place {
	uint32_t segment;
	uint64_t offset, nbytes;
};

void shm_place_encode(const struct shm_place *place, uint8_t bytes[SHM_PLACE_BYTES]);
simpler_status shm_place_decode(const void *bytes, size_t size, struct shm_place *out);

enum shm_wish { SHM_SEGMENT = 0, SHM_LANE = 1 };

struct shm_ask {
	enum shm_wish wish;
	uint64_t session; /* not 0 in a decoded one */
	uint32_t bit;     /* of a lane: which hint is its own */
};

size_t shm_ask_encode(const struct shm_ask *ask, void *bytes, size_t capacity);
simpler_status shm_ask_decode(const void *bytes, size_t size, struct shm_ask *out);

struct shm_answer {
	/* SIMPLER_OK, or why there is no memory, or why a lane is closed. */
	simpler_status status;
	char text[SHM_TEXT_MAX + 1]; /* then; a decoded one is printable */
	uint32_t segment;            /* 0 of a lane */
	uint64_t bytes;              /* of the memory */
};

size_t shm_answer_encode(const struct shm_answer *answer, void *bytes, size_t capacity);
simpler_status shm_answer_decode(const void *bytes, size_t size, struct shm_answer *out);

#endif
