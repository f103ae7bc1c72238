/*
 * Shared memory: the segment that a node on this machine keeps the session's tensors in, mapped
 * here. A move is a copy in the thread that starts it, and is over when start() returns.
 *
 * The segment is the session's own, so what this process writes where it should not spoils tensors
 * of its own and of nobody else. Its size is fixed and the pages of tensors are there, so touching
 * them raises no SIGBUS.
 *
 * A session that begins anew has another segment. Programs may have addresses in the one before,
 * and copies be on their way there; so memory of this process takes its place, until the end.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/descriptor.h"
#include "os/memory.h"
#include "os/socket.h"
#include "transport/transport.h"
#include "wire/shm.h"

#define ANSWER_MS 2000u

struct mapping {
	uint32_t segment;
	uint8_t *base;
	uint64_t bytes;
	struct mapping *before;
};

struct shm {
	struct transport transport;
	struct mapping *_Atomic now; /* set by one thread at a time */
};

/* --- where storage is --- */

static simpler_status find(const struct shm *shm, const struct transport_storage *storage,
                           uint8_t **out)
{
	simpler_bytes desc = transport_storage_desc(storage, SHM_TRANSPORT);
	const struct mapping *now = atomic_load(&shm->now);
	struct shm_place place;
	simpler_status status;

	*out = now->base;
	if (storage->handle.nbytes == 0) /* no bytes lie nowhere */
		return SIMPLER_OK;
	status = shm_place_decode(desc.data, desc.size, &place);
	if (status != SIMPLER_OK)
		return status;
	if (place.nbytes != storage->handle.nbytes || place.segment != now->segment ||
	    place.offset > now->bytes || place.nbytes > now->bytes - place.offset)
		return error_raise(
			SIMPLER_EPROTOCOL,
			"the node says that a tensor of %llu bytes is at %llu of segment "
			"%u, and segment %u of %llu bytes is shared",
			(unsigned long long)place.nbytes, (unsigned long long)place.offset,
			place.segment, now->segment, (unsigned long long)now->bytes);
	*out += place.offset;
	return SIMPLER_OK;
}

static bool shm_reaches(struct transport *transport, const struct transport_storage *storage)
{
	(void)transport;
	return storage->handle.nbytes == 0 ||
	       transport_storage_desc(storage, SHM_TRANSPORT).size > 0;
}

uint8_t *shm_transport_address(struct transport *transport, const struct transport_storage *storage)
{
	uint8_t *address;

	return find((const struct shm *)transport, storage, &address) == SIMPLER_OK ? address
	                                                                            : NULL;
}

/* --- moving --- */

static void copy(struct transport_move *move, uint8_t *there, uint64_t size)
{
	if (move->write)
		transport_gather(move, there, size);
	else
		transport_scatter(move, there, size);
	move->moved += size;
}

static void count(struct transport *transport, const struct transport_move *move)
{
	_Atomic uint64_t *counter = move->write ? &transport->sent : &transport->received;

	atomic_fetch_add_explicit(counter, move->moved, memory_order_relaxed);
}

static void shm_start(struct transport *transport, struct transport_move *move)
{
	const struct span *span = &move->span;
	struct error error;
	uint8_t *there;
	bool failed;

	move->transport = transport;
	failed = find((const struct shm *)transport, move->storage, &there) != SIMPLER_OK;
	if (!failed && atomic_load(&move->cancelled)) {
		failed = true;
		(void)error_raise(SIMPLER_ECANCELLED, "it was cancelled");
	}
	if (failed) {
		error_save(&error);
		move->done(move, &error);
		return;
	}
	for (uint64_t i = 0; i < span->runs; i++)
		copy(move, there + span->offset + i * span->pitch, span->run_bytes);
	count(transport, move);
	move->done(move, NULL);
}

/* What has begun is soon over. */
static void shm_cancel(struct transport *transport, struct transport_move *move, bool lost)
{
	(void)transport;
	(void)lost;
	atomic_store(&move->cancelled, true);
}

/* --- the segment --- */

static void shm_close(struct transport *transport)
{
	struct shm *shm = (struct shm *)transport;
	struct mapping *mapping = atomic_load(&shm->now), *before;

	for (; mapping; mapping = before) {
		before = mapping->before;
		memory_unmap(mapping->base, mapping->bytes);
		free(mapping);
	}
	free(shm);
}

static simpler_status ask(int socket, uint64_t session, struct shm_answer *answer, int *fd)
{
	const struct shm_ask question = { .session = session };
	uint8_t bytes[SHM_ANSWER_MAX];
	size_t size = shm_ask_encode(&question, bytes, sizeof(bytes)), fds;
	simpler_status status = socket_send(socket, bytes, size, NULL, 0);

	if (status == SIMPLER_OK && !descriptor_wait_readable(socket, clock_after_ms(ANSWER_MS)))
		status = error_raise(SIMPLER_EUNAVAILABLE, "the node did not answer in time");
	if (status == SIMPLER_OK)
		status = socket_receive(socket, bytes, sizeof(bytes), &size, fd, 1, &fds);
	if (status != SIMPLER_OK)
		return status;
	status = shm_answer_decode(bytes, size, answer);
	if (status == SIMPLER_OK && answer->status != SIMPLER_OK)
		status = error_raise(answer->status, "%s", answer->text);
	if (status == SIMPLER_OK && fds != 1)
		return error_raise(SIMPLER_EPROTOCOL, "no memory came with the answer");
	if (status != SIMPLER_OK && fds == 1)
		(void)close(*fd);
	return status;
}

static simpler_status map(struct mapping *mapping, const struct shm_answer *answer, int fd)
{
	void *base;
	uint64_t bytes;
	simpler_status status = memory_size(fd, &bytes);

	if (status == SIMPLER_OK && bytes < answer->bytes)
		status = error_raise(SIMPLER_EPROTOCOL, "the memory is smaller than was said");
	if (status == SIMPLER_OK)
		status = memory_map(fd, answer->bytes, &base);
	if (status != SIMPLER_OK)
		return status;
	mapping->segment = answer->segment;
	mapping->base = base;
	mapping->bytes = answer->bytes;
	return SIMPLER_OK;
}

/* The segment that the session has now. */
static simpler_status get(const char *address, uint64_t session, struct mapping **out)
{
	struct mapping *mapping = calloc(1, sizeof(*mapping));
	struct shm_answer answer;
	int socket, fd;
	simpler_status status;

	if (!mapping)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a transport");
	/* "@" stands for the byte that such a name begins with. */
	status = address[0] == '@'
	                 ? socket_connect(&address[1], &socket)
	                 : error_raise(SIMPLER_EPROTOCOL,
	                               "'%.100s' is no address of an abstract socket", address);
	if (status == SIMPLER_OK) {
		status = ask(socket, session, &answer, &fd);
		(void)close(socket);
	}
	if (status == SIMPLER_OK) {
		status = map(mapping, &answer, fd);
		(void)close(fd);
	}
	if (status == SIMPLER_OK)
		*out = mapping;
	else
		free(mapping);
	return status;
}

static const struct transport_ops shm_ops = { SHM_TRANSPORT, shm_reaches, shm_start, shm_cancel,
	                                      shm_close };

simpler_status shm_transport_create(const char *address, uint64_t session, struct transport **out)
{
	struct shm *shm = calloc(1, sizeof(*shm));
	struct mapping *mapping;
	simpler_status status;

	if (!shm)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a transport");
	shm->transport.ops = &shm_ops;
	status = get(address, session, &mapping);
	if (status != SIMPLER_OK) {
		free(shm);
		return status;
	}
	atomic_init(&shm->now, mapping);
	*out = &shm->transport;
	return SIMPLER_OK;
}

simpler_status shm_transport_turn(struct transport *transport, const char *address,
                                  uint64_t session)
{
	struct shm *shm = (struct shm *)transport;
	struct mapping *mapping, *before = atomic_load(&shm->now);
	simpler_status status = get(address, session, &mapping);

	if (status != SIMPLER_OK)
		return status;
	mapping->before = before;
	atomic_store(&shm->now, mapping);
	/* Else it stays what it was, which takes memory and does no harm. */
	(void)memory_replace(before->base, before->bytes);
	return SIMPLER_OK;
}
