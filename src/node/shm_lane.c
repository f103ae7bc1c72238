#include "node/shm_lane.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "ipc/lane_memory.h"
#include "node/lane.h"
#include "os/events.h"
#include "os/memory.h"
#include "os/socket.h"
#include "rpc/lane_record.h"

/* Of what is taken at once. */
#define BATCH_BYTES (2 * LANE_BATCH_MAX)

struct shm_lane {
	struct node_lane lane; /* first */
	int socket;
	void *memory;
	struct lane_bells *bells;
	uint32_t bit;
	struct lane_end end;
	_Atomic bool ended; /* nothing more is to be taken */
	_Atomic bool over;  /* the thread is through */
	/* The thread's: */
	struct spin_budget spin;
	uint8_t batch[BATCH_BYTES];
	/* Of who opened it: */
	pthread_t thread;
	struct shm_lane *prev, *next;
};

struct shm_lanes {
	struct node *node;
	int sockets; /* a set (os/events.h) */
	struct shm_lane *running;
};

static void tell_client(struct shm_lane *shm)
{
	lane_bells_tell(shm->bells, shm->bit);
}

/* --- the carrier --- */

static bool shm_send(struct node_lane *lane, const uint8_t *bytes, size_t size)
{
	struct shm_lane *shm = (struct shm_lane *)lane;
	enum lane_put put = lane_end_put(&shm->end, bytes, size);

	if (put == LANE_PUT)
		tell_client(shm);
	else if (put == LANE_BROKEN)
		node_lane_close(lane, RPC_INVALID_ARGUMENT, simpler_last_error_step(0));
	return put == LANE_PUT;
}

/* One datagram was written to the socket before, so there is room, or the client is gone. */
static void say_why(struct shm_lane *shm, enum rpc_code code, const char *why)
{
	struct shm_answer said = { .status = rpc_status_of(code) };
	uint8_t bytes[SHM_ANSWER_MAX];

	(void)snprintf(said.text, sizeof(said.text), "%s", why);
	if (socket_send(shm->socket, bytes, shm_answer_encode(&said, bytes, sizeof(bytes)), NULL,
	                0) != SIMPLER_OK)
		simpler_log(SIMPLER_LOG_DEBUG, "a lane: %s", simpler_last_error());
}

static void shm_close(struct node_lane *lane, enum rpc_code code, const char *why)
{
	struct shm_lane *shm = (struct shm_lane *)lane;

	say_why(shm, code, why);
	socket_end(shm->socket);
	atomic_store(&shm->ended, true);
	doorbell_ring_all(&shm->end.shared->node);
}

static void unmap_and_free(struct shm_lane *shm)
{
	if (shm->memory)
		memory_unmap(shm->memory, lane_memory_bytes());
	if (shm->bells)
		memory_unmap(shm->bells, sizeof(*shm->bells));
	free(shm);
}

static void shm_release(struct node_lane *lane)
{
	struct shm_lane *shm = (struct shm_lane *)lane;

	node_lane_destroy(lane);
	(void)close(shm->socket);
	unmap_and_free(shm);
}

static const struct node_lane_carrier shm_carrier = {
	.kind = SIMPLER_LANE_SHM,
	.keeps_what_was_sent = true,
	.batch_bytes = LANE_BATCH_MAX,
	.record_bytes = LANE_BATCH_MAX,
	.send = shm_send,
	.close = shm_close,
	.release = shm_release,
};

/* --- its thread --- */

static bool has_record(void *context)
{
	struct shm_lane *shm = context;

	return ring_has_record(&shm->end.in);
}

/* What did not fit goes on. */
static void put_rest(struct shm_lane *shm)
{
	enum lane_put put;

	if (!lane_end_put_rest(&shm->end, &put))
		return;
	if (put == LANE_BROKEN) {
		node_lane_close(&shm->lane, RPC_INVALID_ARGUMENT, simpler_last_error_step(0));
		return;
	}
	tell_client(shm);
	node_lane_continue(&shm->lane);
}

static void take(struct shm_lane *shm)
{
	simpler_status status;
	size_t size;
	bool tells;

	do {
		status = lane_end_take(&shm->end, shm->batch, sizeof(shm->batch), &size, &tells);
		if (tells)
			tell_client(shm);
		node_lane_take(&shm->lane, shm->batch, size);
	} while (status == SIMPLER_OK && size > 0 && !atomic_load(&shm->ended));
	if (status != SIMPLER_OK)
		node_lane_close(&shm->lane, RPC_INVALID_ARGUMENT, simpler_last_error_step(0));
}

static void *lane_main(void *argument)
{
	struct shm_lane *shm = argument;
	struct node *node = shm->lane.node;
	struct doorbell *bell = &shm->end.shared->node;

	while (!atomic_load(&shm->ended)) {
		uint32_t ticket = doorbell_ticket(bell);

		take(shm);
		put_rest(shm);
		if (!atomic_load(&shm->ended))
			(void)doorbell_wait_for(bell, ticket, &shm->spin,
			                        clock_after_ms(LANE_LOOK_MS), has_record, shm);
	}
	atomic_store(&shm->over, true);
	events_wake(node->wakeup);
	return NULL;
}

/* --- opening --- */

/* The lane's memory, whose descriptor the client is to get. */
static simpler_status make_memory(struct shm_lane *shm, int *fd)
{
	size_t bytes = lane_memory_bytes();
	simpler_status status = memory_create("simpler-lane", bytes, fd);

	if (status != SIMPLER_OK)
		return status;
	status = memory_commit(*fd, 0, bytes);
	if (status == SIMPLER_OK)
		status = memory_map(*fd, bytes, &shm->memory);
	if (status != SIMPLER_OK) {
		(void)close(*fd);
		return status;
	}
	lane_memory_init(shm->memory);
	lane_end_attach_node(&shm->end, shm->memory);
	return SIMPLER_OK;
}

static simpler_status map_bells(struct shm_lane *shm, const struct shm_ask *ask, int bells)
{
	size_t bytes = sizeof(*shm->bells);
	simpler_status status = memory_check(bells, bytes);
	void *base;

	if (status == SIMPLER_OK && ask->bit >= LANE_BELLS_LANES)
		status = error_raise(SIMPLER_EPROTOCOL, "there is no hint %" PRIu32, ask->bit);
	if (status == SIMPLER_OK)
		status = memory_commit(bells, 0, bytes);
	if (status == SIMPLER_OK)
		status = memory_map(bells, bytes, &base);
	if (status != SIMPLER_OK)
		return status;
	shm->bells = base;
	shm->bit = ask->bit;
	return SIMPLER_OK;
}

/* It is there when the client hears of the memory. */
static simpler_status put_hello(struct shm_lane *shm, const struct node *node)
{
	const struct lane_hello hello = { node_lane_credits(node) };
	uint8_t bytes[64];

	lane_hello_encode(&hello, bytes);
	return ring_put(&shm->end.out, bytes, lane_hello_bytes());
}

static simpler_status answer(int socket, int memory)
{
	const struct shm_answer said = { .status = SIMPLER_OK, .bytes = lane_memory_bytes() };
	uint8_t bytes[SHM_ANSWER_MAX];

	return socket_send(socket, bytes, shm_answer_encode(&said, bytes, sizeof(bytes)), &memory,
	                   1);
}

/* What can fail before anybody else sees it. */
static simpler_status prepare(struct shm_lanes *lanes, const struct shm_ask *ask, int bells,
                              struct shm_lane *shm, int *memory)
{
	simpler_status status = map_bells(shm, ask, bells);

	if (status == SIMPLER_OK)
		status = make_memory(shm, memory);
	if (status != SIMPLER_OK)
		return status;
	status = put_hello(shm, lanes->node);
	if (status == SIMPLER_OK)
		status = node_lane_open(&shm->lane, &shm_carrier, lanes->node, ask->session);
	if (status != SIMPLER_OK)
		(void)close(*memory);
	return status;
}

/* Once the node knows it, it ends by being closed. */
static void start(struct shm_lanes *lanes, struct shm_lane *shm, int memory)
{
	simpler_status status = answer(shm->socket, memory);
	int failure;

	if (status == SIMPLER_OK)
		status = events_set_add(lanes->sockets, shm->socket, (uintptr_t)shm);
	if (status == SIMPLER_OK) {
		failure = pthread_create(&shm->thread, NULL, lane_main, shm);
		if (failure == 0) {
			DL_APPEND(lanes->running, shm);
			return;
		}
		status =
			error_raise_errno(SIMPLER_ESYSTEM, failure, "cannot start a lane's thread");
		events_set_remove(lanes->sockets, shm->socket);
	}
	node_lane_close(&shm->lane, rpc_code_of(status), simpler_last_error_step(0));
	node_lane_drop(&shm->lane);
}

simpler_status shm_lanes_open(struct shm_lanes *lanes, const struct shm_ask *ask, int socket,
                              int bells)
{
	struct shm_lane *shm = calloc(1, sizeof(*shm));
	simpler_status status;
	int memory;

	if (!shm)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a lane");
	shm->socket = socket;
	status = prepare(lanes, ask, bells, shm, &memory);
	if (status != SIMPLER_OK) {
		unmap_and_free(shm);
		return status;
	}
	start(lanes, shm, memory);
	(void)close(memory);
	(void)close(bells);
	return SIMPLER_OK;
}

/* --- ends --- */

static void join(struct shm_lanes *lanes, struct shm_lane *shm)
{
	(void)pthread_join(shm->thread, NULL);
	DL_DELETE(lanes->running, shm);
	events_set_remove(lanes->sockets, shm->socket);
	node_lane_drop(&shm->lane);
}

void shm_lanes_step(struct shm_lanes *lanes)
{
	struct shm_lane *shm, *next;
	uint64_t tag;

	if (!lanes)
		return;
	/* A client that says anything has nothing to say. */
	while (events_set_next(lanes->sockets, 0, &tag)) {
		shm = (struct shm_lane *)(uintptr_t)tag;
		events_set_remove(lanes->sockets, shm->socket);
		node_lane_close(&shm->lane, RPC_CANCELLED, "the client has gone");
	}
	DL_FOREACH_SAFE (lanes->running, shm, next) {
		if (atomic_load(&shm->over))
			join(lanes, shm);
	}
}

int shm_lanes_fd(const struct shm_lanes *lanes)
{
	return lanes ? lanes->sockets : -1;
}

simpler_status shm_lanes_create(struct node *node, struct shm_lanes **out)
{
	struct shm_lanes *lanes = calloc(1, sizeof(*lanes));
	simpler_status status;

	if (!lanes)
		return error_raise(SIMPLER_ENOMEM, "out of memory for lanes");
	lanes->node = node;
	status = events_set(&lanes->sockets);
	if (status == SIMPLER_OK)
		*out = lanes;
	else
		free(lanes);
	return status;
}

void shm_lanes_destroy(struct shm_lanes *lanes)
{
	struct shm_lane *shm, *next;

	if (!lanes)
		return;
	DL_FOREACH_SAFE (lanes->running, shm, next)
		join(lanes, shm);
	(void)close(lanes->sockets);
	free(lanes);
}
