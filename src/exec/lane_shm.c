/*
 * A lane has a place in the hub, whose number is that of its hint. It is opened by an ask, which
 * the watcher hears the answer of: then its memory is mapped, and what is in it is looked for, the
 * hello first of all. Its end is told by the socket, whoever ends it; the place is free then.
 *
 * The hub has a reference to a lane while it has a place. Its memory is unmapped with the last
 * reference, so that whoever sends or looks needs no lock.
 */
#include "exec/lane_shm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/error.h"
#include "exec/lane_batch.h"
#include "ipc/lane_memory.h"
#include "os/events.h"
#include "os/memory.h"
#include "os/socket.h"
#include "wire/shm.h"

/* Of what is taken at once. */
#define BATCH_BYTES (2 * LANE_BATCH_MAX)
/* The tag of the watcher's own wake-up. */
#define WAKEUP LANE_BELLS_LANES

struct shm {
	struct lane_batch batch; /* first */
	struct lane_shm_hub *hub;
	uint32_t place;
	int socket;
	void *memory; /* NULL: there was no answer yet; the watcher's */
	struct lane_end end;
	_Atomic bool ready;     /* `end` is there */
	_Atomic uint32_t looks; /* that are asked for; who asks first looks */
	uint8_t bytes[BATCH_BYTES];
};

struct lane_shm_hub {
	struct lane_bells *bells;
	int bells_fd;
	int sockets, wakeup; /* the set that the watcher waits for; see os/events.h */
	struct collector collector;
	pthread_t watcher;
	_Atomic bool stopping;
	_Atomic uint32_t count; /* of lanes that have a place */
	pthread_mutex_t lock;   /* guards: */
	struct shm *lanes[LANE_BELLS_LANES];
	bool started;
};

/* --- the carrier --- */

static void tell_node(struct shm *shm)
{
	doorbell_wake(&shm->end.shared->node);
}

static bool shm_send(struct lane_batch *lane, const uint8_t *bytes, size_t size)
{
	struct shm *shm = (struct shm *)lane;
	enum lane_put put = lane_end_put(&shm->end, bytes, size);

	if (put == LANE_PUT)
		tell_node(shm);
	else if (put == LANE_BROKEN)
		lane_batch_lost(lane, simpler_last_error_step(0));
	return put == LANE_PUT;
}

static void shm_close(struct lane_batch *lane)
{
	socket_end(((struct shm *)lane)->socket);
}

static void shm_release(struct lane_batch *lane)
{
	struct shm *shm = (struct shm *)lane;

	if (shm->memory)
		memory_unmap(shm->memory, lane_memory_bytes());
	(void)close(shm->socket);
	lane_batch_destroy(lane);
	free(shm);
}

static const struct lane_carrier shm_carrier = {
	.name = "shm",
	.batch_bytes = LANE_BATCH_MAX,
	.record_bytes = LANE_BATCH_MAX,
	.send = shm_send,
	.close = shm_close,
	.release = shm_release,
};

/* --- taking what came --- */

static void put_rest(struct shm *shm)
{
	enum lane_put put;

	if (!lane_end_put_rest(&shm->end, &put))
		return;
	if (put == LANE_BROKEN) {
		lane_batch_lost(&shm->batch, simpler_last_error_step(0));
		return;
	}
	tell_node(shm);
	lane_batch_sent(&shm->batch);
}

static void take_all(struct shm *shm)
{
	simpler_status status;
	size_t size;
	bool tells;

	do {
		status = lane_end_take(&shm->end, shm->bytes, sizeof(shm->bytes), &size, &tells);
		if (tells)
			(void)doorbell_ring(&shm->end.shared->node);
		if (size > 0)
			lane_batch_take(&shm->batch, shm->bytes, size);
	} while (status == SIMPLER_OK && size > 0);
	if (status != SIMPLER_OK)
		lane_batch_lost(&shm->batch, simpler_last_error_step(0));
	put_rest(shm);
}

/* One at a time: who comes while another looks has it look once more. */
static void look(struct shm *shm)
{
	uint32_t looks;

	if (!atomic_load(&shm->ready) || atomic_fetch_add(&shm->looks, 1) != 0)
		return;
	do {
		looks = atomic_load(&shm->looks);
		take_all(shm);
	} while (atomic_fetch_sub(&shm->looks, looks) != looks);
}

/* And until nobody looks any more: for the watcher, which nobody who looks waits for. */
static void look_through(struct shm *shm)
{
	const struct timespec moment = { .tv_nsec = 20000 };

	look(shm);
	while (atomic_load(&shm->looks) != 0)
		(void)nanosleep(&moment, NULL);
}

/* With a reference for the caller; NULL when there is none. */
static struct shm *hold_at(struct lane_shm_hub *hub, uint32_t place)
{
	struct shm *shm;

	pthread_mutex_lock(&hub->lock);
	shm = hub->lanes[place];
	if (shm)
		lane_hold(&shm->batch.lane);
	pthread_mutex_unlock(&hub->lock);
	return shm;
}

/* At the lanes of one word. What all of them have answered is taken before what follows from it is
 * sent, or each node would get its next dispatches one by one. */
static void look_at(struct lane_shm_hub *hub, uint32_t word, uint64_t hints)
{
	struct shm *looked_at[64];
	uint32_t count = 0;

	for (; hints != 0; hints &= hints - 1) {
		struct shm *shm = hold_at(hub, word * 64 + bits_lowest(hints));

		if (!shm)
			continue;
		looked_at[count++] = shm;
		lane_batch_cork(&shm->batch);
		look(shm);
	}
	while (count > 0) {
		struct shm *shm = looked_at[--count];

		lane_batch_uncork(&shm->batch);
		lane_drop(&shm->batch.lane);
	}
}

static void collect(void *context, bool everywhere)
{
	struct lane_shm_hub *hub = context;

	for (uint32_t word = 0; word < LANE_BELLS_LANES / 64; word++) {
		uint64_t hints = lane_bells_take(hub->bells, word);

		look_at(hub, word, everywhere ? UINT64_MAX : hints);
	}
}

static bool any_hint(void *context)
{
	struct lane_shm_hub *hub = context;

	return lane_bells_any(hub->bells);
}

/* --- the watcher --- */

static simpler_status take_memory(struct shm *shm, const struct shm_answer *answer, int fd)
{
	size_t bytes = lane_memory_bytes();
	simpler_status status = memory_check(fd, bytes);

	if (status == SIMPLER_OK && answer->bytes != bytes)
		status = error_raise(SIMPLER_EPROTOCOL, "its memory has another layout");
	if (status == SIMPLER_OK)
		status = memory_map(fd, bytes, &shm->memory);
	if (status != SIMPLER_OK)
		return status;
	lane_end_attach_client(&shm->end, shm->memory);
	atomic_store(&shm->ready, true);
	look(shm);
	return SIMPLER_OK;
}

/* The node has answered, or says why it closes the lane, or is gone. */
static simpler_status hear(struct shm *shm)
{
	uint8_t bytes[SHM_ANSWER_MAX];
	struct shm_answer answer;
	size_t size, fds = 0;
	int fd = -1;
	simpler_status status =
		socket_receive(shm->socket, bytes, sizeof(bytes), &size, &fd, 1, &fds);

	if (status != SIMPLER_OK)
		return error_raise(status, "the node has closed it");
	status = shm_answer_decode(bytes, size, &answer);
	if (status == SIMPLER_OK && answer.status != SIMPLER_OK)
		status = error_raise(answer.status, "%s", answer.text);
	else if (status == SIMPLER_OK && (fds != 1 || shm->memory))
		status =
			error_raise(SIMPLER_EPROTOCOL, "the node answers without memory, or again");
	else if (status == SIMPLER_OK)
		status = take_memory(shm, &answer, fd);
	if (fds == 1)
		(void)close(fd);
	return status;
}

/* It has no place any more, and tells its owner, unless that closed it. */
static void end(struct shm *shm, const char *why)
{
	struct lane_shm_hub *hub = shm->hub;

	events_set_remove(hub->sockets, shm->socket);
	pthread_mutex_lock(&hub->lock);
	hub->lanes[shm->place] = NULL;
	pthread_mutex_unlock(&hub->lock);
	atomic_fetch_sub(&hub->count, 1);
	lane_batch_lost(&shm->batch, why);
	lane_drop(&shm->batch.lane);
}

static void attend_socket(struct lane_shm_hub *hub, uint32_t place)
{
	struct shm *shm = hold_at(hub, place);
	char why[ERROR_STEP_BYTES];

	if (!shm)
		return;
	if (hear(shm) != SIMPLER_OK) {
		(void)snprintf(why, sizeof(why), "%s", simpler_last_error_step(0));
		/* What came before the end counts. */
		look_through(shm);
		end(shm, why);
	}
	lane_drop(&shm->batch.lane);
}

static void *watcher_main(void *argument)
{
	struct lane_shm_hub *hub = argument;
	uint64_t tag;

	while (!atomic_load(&hub->stopping) || atomic_load(&hub->count) > 0) {
		if (!events_set_next(hub->sockets, CLOCK_NEVER, &tag))
			continue;
		if (tag == WAKEUP)
			events_clear(hub->wakeup);
		else
			attend_socket(hub, (uint32_t)tag);
	}
	return NULL;
}

/* --- opening --- */

/* With the lock. */
static simpler_status start_threads(struct lane_shm_hub *hub)
{
	simpler_status status;
	int failure;

	if (hub->started)
		return SIMPLER_OK;
	status = hub->collector.started ? SIMPLER_OK : collector_start(&hub->collector);
	if (status != SIMPLER_OK)
		return status;
	failure = pthread_create(&hub->watcher, NULL, watcher_main, hub);
	if (failure != 0)
		return error_raise_errno(SIMPLER_ESYSTEM, failure,
		                         "cannot start a thread that watches lanes");
	hub->started = true;
	return SIMPLER_OK;
}

static simpler_status ask(const struct shm *shm, uint64_t session)
{
	const struct shm_ask ask = { SHM_LANE, session, shm->place };
	uint8_t bytes[SHM_ASK_MAX];

	return socket_send(shm->socket, bytes, shm_ask_encode(&ask, bytes, sizeof(bytes)),
	                   &shm->hub->bells_fd, 1);
}

/* Who else could be there got a name that a node made up. */
static simpler_status connect_to(const char *address, int *socket)
{
	simpler_status status;

	/* "@" stands for the byte that such a name begins with. */
	if (address[0] != '@' || address[1] == '\0' || strlen(&address[1]) > SOCKET_NAME_MAX)
		return error_raise(SIMPLER_EUNAVAILABLE, "the node shares no memory");
	status = socket_connect(&address[1], socket);
	if (status == SIMPLER_OK && !socket_peer_is_ours(*socket)) {
		(void)close(*socket);
		return error_raise(SIMPLER_EPERM,
		                   "the process that shares memory at '%s' is "
		                   "another user's",
		                   address);
	}
	return status;
}

/* With the lock. From here on the watcher hears of it. */
static simpler_status take_place(struct lane_shm_hub *hub, struct shm *shm, uint64_t session)
{
	uint32_t place = 0;
	simpler_status status;

	while (place < LANE_BELLS_LANES && hub->lanes[place])
		place++;
	if (place == LANE_BELLS_LANES)
		return error_raise(SIMPLER_ENOSPACE,
		                   "a worker has at most %u lanes by shared memory",
		                   LANE_BELLS_LANES);
	shm->place = place;
	status = ask(shm, session);
	if (status == SIMPLER_OK)
		status = events_set_add(hub->sockets, shm->socket, place);
	if (status != SIMPLER_OK)
		return status;
	lane_hold(&shm->batch.lane);
	hub->lanes[place] = shm;
	atomic_fetch_add(&hub->count, 1);
	return SIMPLER_OK;
}

simpler_status lane_shm_open(struct lane_shm_hub *hub, const char *address, uint64_t session,
                             const struct lane_owner *owner, struct lane **out)
{
	struct shm *shm;
	simpler_status status;
	int socket;

	status = connect_to(address, &socket);
	if (status != SIMPLER_OK)
		return status;
	shm = calloc(1, sizeof(*shm));
	if (!shm) {
		(void)close(socket);
		return error_raise(SIMPLER_ENOMEM, "out of memory for a lane");
	}
	shm->hub = hub;
	shm->socket = socket;
	lane_batch_init(&shm->batch, &shm_carrier, owner);
	*out = &shm->batch.lane;
	pthread_mutex_lock(&hub->lock);
	status = start_threads(hub);
	if (status == SIMPLER_OK)
		status = take_place(hub, shm, session);
	pthread_mutex_unlock(&hub->lock);
	if (status != SIMPLER_OK)
		lane_drop(&shm->batch.lane);
	return status;
}

/* --- the hub --- */

bool lane_shm_hub_is_used(struct lane_shm_hub *hub)
{
	return atomic_load(&hub->count) > 0;
}

struct collector *lane_shm_hub_collector(struct lane_shm_hub *hub)
{
	return &hub->collector;
}

static simpler_status make_bells(struct lane_shm_hub *hub)
{
	size_t bytes = sizeof(*hub->bells);
	simpler_status status = memory_create("simpler-bells", bytes, &hub->bells_fd);
	void *base = NULL;

	if (status == SIMPLER_OK)
		status = memory_commit(hub->bells_fd, 0, bytes);
	if (status == SIMPLER_OK)
		status = memory_map(hub->bells_fd, bytes, &base);
	hub->bells = base;
	return status;
}

static simpler_status build(struct lane_shm_hub *hub)
{
	simpler_status status = make_bells(hub);

	if (status == SIMPLER_OK)
		status = events_set(&hub->sockets);
	if (status == SIMPLER_OK)
		status = events_wakeup(&hub->wakeup);
	if (status == SIMPLER_OK)
		status = events_set_add(hub->sockets, hub->wakeup, WAKEUP);
	return status;
}

simpler_status lane_shm_hub_create(struct lane_shm_hub **out)
{
	struct lane_shm_hub *hub = calloc(1, sizeof(*hub));
	simpler_status status;

	if (!hub)
		return error_raise(SIMPLER_ENOMEM, "out of memory for lanes");
	hub->bells_fd = hub->sockets = hub->wakeup = -1;
	(void)pthread_mutex_init(&hub->lock, NULL);
	status = build(hub);
	if (status != SIMPLER_OK) {
		lane_shm_hub_destroy(hub);
		return status;
	}
	hub->collector = (struct collector){
		.bells = &hub->bells->pair, .context = hub, .there = any_hint, .collect = collect
	};
	*out = hub;
	return SIMPLER_OK;
}

static void close_if_open(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

void lane_shm_hub_destroy(struct lane_shm_hub *hub)
{
	if (!hub)
		return;
	if (hub->started) {
		atomic_store(&hub->stopping, true);
		events_wake(hub->wakeup);
		(void)pthread_join(hub->watcher, NULL);
	}
	collector_stop(&hub->collector);
	if (hub->bells)
		memory_unmap(hub->bells, sizeof(*hub->bells));
	close_if_open(hub->bells_fd);
	close_if_open(hub->sockets);
	close_if_open(hub->wakeup);
	(void)pthread_mutex_destroy(&hub->lock);
	free(hub);
}
