#include "fake_lane.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "exec/lane_batch.h"
#include "rpc/lane_record.h"
#include "wire/little_endian.h"

#define OUTCOMES_MAX 4096

enum way { TO_NODE, TO_CLIENT, ENDED };

struct item {
	struct item *next;
	enum way way;
	size_t size;
	uint8_t bytes[];
};

struct fake {
	struct lane_batch batch; /* first */
	struct fake_mischief mischief;
	pthread_mutex_t lock; /* guards what follows, up to the thread's own */
	pthread_cond_t changed;
	struct item *items;
	struct rpc_client_call *call; /* NULL once it has ended */
	bool sending, shut;
	unsigned batches;
	uint64_t timeout_us;
	/* The thread's: */
	unsigned outcomes;
	struct lane_bytes out;
};

static pthread_mutex_t living_lock = PTHREAD_MUTEX_INITIALIZER; /* guards: */
static pthread_cond_t living_changed = PTHREAD_COND_INITIALIZER;
static unsigned living;

static void count_living(int change)
{
	pthread_mutex_lock(&living_lock);
	living += (unsigned)change;
	pthread_cond_broadcast(&living_changed);
	pthread_mutex_unlock(&living_lock);
}

void fake_lane_await_none(void)
{
	pthread_mutex_lock(&living_lock);
	while (living > 0)
		pthread_cond_wait(&living_changed, &living_lock);
	pthread_mutex_unlock(&living_lock);
}

static void push(struct fake *fake, enum way way, const uint8_t *bytes, size_t size)
{
	struct item *item = calloc(1, sizeof(*item) + size), **end = &fake->items;

	if (!item)
		abort();
	item->way = way;
	item->size = size;
	if (size > 0)
		memcpy(item->bytes, bytes, size);
	pthread_mutex_lock(&fake->lock);
	while (*end)
		end = &(*end)->next;
	*end = item;
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
}

/* The first that may go its way; the caller frees it. */
static struct item *pop(struct fake *fake)
{
	struct item **at, *item;

	pthread_mutex_lock(&fake->lock);
	for (;;) {
		at = &fake->items;
		while (*at && fake->shut && (*at)->way == TO_NODE)
			at = &(*at)->next;
		if (*at)
			break;
		pthread_cond_wait(&fake->changed, &fake->lock);
	}
	item = *at;
	*at = item->next;
	pthread_mutex_unlock(&fake->lock);
	return item;
}

static void cancel(struct fake *fake)
{
	pthread_mutex_lock(&fake->lock);
	if (fake->call)
		rpc_client_call_cancel(fake->call);
	pthread_mutex_unlock(&fake->lock);
}

/* --- to the node --- */

static void note_timeout(struct fake *fake, const uint8_t *bytes, size_t size)
{
	struct msg_dispatch dispatch;
	struct lane_record record;

	while (size > 0 && lane_next_record(&bytes, &size, &record) == SIMPLER_OK)
		(void)lane_dispatch_decode(&record, &dispatch, &fake->timeout_us);
}

static void forward(struct fake *fake, const struct item *item)
{
	struct rpc_buffer buffer;
	unsigned number;

	pthread_mutex_lock(&fake->lock);
	number = ++fake->batches;
	note_timeout(fake, item->bytes, item->size);
	pthread_mutex_unlock(&fake->lock);
	if (fake->mischief.lie == FAKE_LANE_DROPS && number == fake->mischief.lie_at) {
		lane_batch_lost(&fake->batch, "a batch was dropped");
		return;
	}
	if (msg_lane_batch_encode(item->bytes, item->size, &buffer) != SIMPLER_OK)
		abort();
	pthread_mutex_lock(&fake->lock);
	fake->sending = fake->call != NULL;
	if (fake->call)
		rpc_stream_send(fake->call, &buffer);
	else
		rpc_buffer_release(&buffer);
	while (fake->sending)
		pthread_cond_wait(&fake->changed, &fake->lock);
	pthread_mutex_unlock(&fake->lock);
	lane_batch_sent(&fake->batch);
}

/* --- to the client --- */

/* With the bytes in memory of their own, of just that size. */
static void take(struct fake *fake, const uint8_t *bytes, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	if (!copy)
		abort();
	memcpy(copy, bytes, size);
	lane_batch_take(&fake->batch, copy, size);
	free(copy);
}

/* `record`, which has room for a hello. Returns how many bytes of it are told. */
static size_t lie(struct fake *fake, uint8_t *record, size_t size)
{
	const struct lane_hello hello = { 1 };

	switch (fake->mischief.lie) {
	case FAKE_LANE_DIES:
		lane_batch_lost(&fake->batch, "it died in the middle");
		return 0;
	case FAKE_LANE_TWICE:
		take(fake, record, size);
		break;
	case FAKE_LANE_UNKNOWN:
		store_le32(record + 8, 0x00ffffff);
		break;
	case FAKE_LANE_GARBAGE:
		memset(record, 0xa5, size);
		break;
	case FAKE_LANE_CUT:
		return size / 2;
	case FAKE_LANE_DISPATCHES:
		record[4] = LANE_DISPATCH;
		break;
	case FAKE_LANE_HELLO_AGAIN:
		lane_hello_encode(&hello, record);
		return lane_hello_bytes();
	default:
		break;
	}
	return size;
}

static void tell_hello(struct fake *fake, uint8_t *record, size_t size)
{
	uint8_t *credits = record + LANE_HEAD_BYTES + 4;

	if (fake->mischief.credits > 0)
		store_le32(credits, fake->mischief.credits);
	if (fake->mischief.lie == FAKE_LANE_NO_HELLO)
		record[4] = LANE_OUTCOME;
	if (fake->mischief.lie == FAKE_LANE_BAD_VERSION)
		store_le32(record + LANE_HEAD_BYTES, LANE_VERSION + 1);
	if (fake->mischief.lie == FAKE_LANE_NO_CREDITS)
		store_le32(credits, 0);
	if (fake->mischief.lie == FAKE_LANE_MANY_CREDITS)
		store_le32(credits, LANE_CREDITS_MAX + 1);
	take(fake, record, size);
}

static void tell_outcome(struct fake *fake, uint8_t *record, size_t size)
{
	if (++fake->outcomes == fake->mischief.lie_at)
		size = lie(fake, record, size);
	if (size > 0)
		take(fake, record, size);
}

static void deliver(struct fake *fake, struct item *item)
{
	const uint8_t *starts[OUTCOMES_MAX];
	size_t sizes[OUTCOMES_MAX];
	const uint8_t *next = item->bytes;
	struct lane_record record;
	size_t left = item->size, count = 0;

	while (left > 0 && count < OUTCOMES_MAX) {
		starts[count] = next;
		if (lane_next_record(&next, &left, &record) != SIMPLER_OK)
			abort(); /* the node does not lie */
		sizes[count] = (size_t)(next - starts[count]);
		count++;
	}
	if (left > 0)
		abort();
	if (!fake->mischief.reorders && fake->mischief.lie == FAKE_LANE_HONEST &&
	    item->bytes[4] != LANE_HELLO) {
		take(fake, item->bytes, item->size);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		size_t at = fake->mischief.reorders ? count - 1 - i : i;
		uint8_t *start = item->bytes + (starts[at] - item->bytes);

		if (start[4] == LANE_HELLO)
			tell_hello(fake, start, sizes[at]);
		else
			tell_outcome(fake, start, sizes[at]);
	}
}

/* --- its threads --- */

static void *relay(void *context)
{
	struct fake *fake = context;
	const struct timespec delay = { 0, (long)fake->mischief.delay_us * 1000 };
	enum way way;

	do {
		struct item *item = pop(fake);

		way = item->way;
		if (fake->mischief.delay_us > 0)
			(void)nanosleep(&delay, NULL);
		if (way == TO_NODE)
			forward(fake, item);
		else if (way == TO_CLIENT)
			deliver(fake, item);
		else
			lane_batch_lost(&fake->batch, (const char *)item->bytes);
		free(item);
	} while (way != ENDED);
	lane_drop(&fake->batch.lane);
	return NULL;
}

static void on_message(void *context, struct rpc_client_call *call, const uint8_t *data,
                       size_t size)
{
	const uint8_t *records;
	struct bump bump;
	size_t count;

	(void)call;
	bump_init(&bump, MSG_BUMP_LIMIT(size));
	if (msg_lane_batch_decode(data, size, &bump, &records, &count) != SIMPLER_OK)
		abort();
	push(context, TO_CLIENT, records, count);
	bump_release(&bump);
}

static void on_sent(void *context, struct rpc_client_call *call)
{
	struct fake *fake = context;

	(void)call;
	pthread_mutex_lock(&fake->lock);
	fake->sending = false;
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
}

static void on_end(void *context, enum rpc_code code, const char *text)
{
	struct fake *fake = context;
	char why[512];

	(void)snprintf(why, sizeof(why), "%s: %s", rpc_code_name(code), text);
	pthread_mutex_lock(&fake->lock);
	fake->call = NULL;
	fake->sending = fake->shut = false;
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
	push(fake, ENDED, (const uint8_t *)why, strlen(why) + 1);
}

/* --- the lane --- */

static bool fake_send(struct lane_batch *lane, const uint8_t *bytes, size_t size)
{
	push((struct fake *)lane, TO_NODE, bytes, size);
	return false;
}

static void fake_close(struct lane_batch *lane)
{
	cancel((struct fake *)lane);
}

static void fake_release(struct lane_batch *lane)
{
	struct fake *fake = (struct fake *)lane;
	struct item *next;

	lane_batch_destroy(lane);
	for (struct item *item = fake->items; item; item = next) {
		next = item->next;
		free(item);
	}
	(void)pthread_mutex_destroy(&fake->lock);
	(void)pthread_cond_destroy(&fake->changed);
	free(fake);
	count_living(-1);
}

static const struct lane_carrier carrier = {
	.name = "fake",
	.batch_bytes = 4096,
	.record_bytes = (size_t)16 << 20,
	.send = fake_send,
	.close = fake_close,
	.release = fake_release,
};

simpler_status fake_lane_open(struct rpc_channel *channel, const struct fake_mischief *mischief,
                              const struct lane_owner *owner, struct lane **out)
{
	static const struct rpc_stream_handlers handlers = { .on_message = on_message,
		                                             .on_sent = on_sent,
		                                             .on_end = on_end };
	struct fake *fake = calloc(1, sizeof(*fake));
	pthread_t thread;

	if (!fake)
		abort();
	fake->mischief = *mischief;
	(void)pthread_mutex_init(&fake->lock, NULL);
	(void)pthread_cond_init(&fake->changed, NULL);
	lane_batch_init(&fake->batch, &carrier, owner);
	lane_hold(&fake->batch.lane); /* the thread's */
	fake->call = rpc_client_call_create(channel, MSG_LANE, CLOCK_NEVER);
	count_living(1);
	if (!fake->call || pthread_create(&thread, NULL, relay, fake) != 0 ||
	    pthread_detach(thread) != 0)
		abort();
	*out = &fake->batch.lane;
	rpc_stream_begin(fake->call, NULL, &handlers, fake);
	return SIMPLER_OK;
}

void fake_lane_shut(struct lane *lane, bool shut)
{
	struct fake *fake = (struct fake *)lane;

	pthread_mutex_lock(&fake->lock);
	fake->shut = shut;
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
}

void fake_lane_facts(struct lane *lane, unsigned *batches, uint64_t *timeout_us)
{
	struct fake *fake = (struct fake *)lane;

	pthread_mutex_lock(&fake->lock);
	*batches = fake->batches;
	*timeout_us = fake->timeout_us;
	pthread_mutex_unlock(&fake->lock);
}
