#include "exec/lane_batch.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/inject.h"
#include "rpc/lane_record.h"
#include "wire/little_endian.h"

static simpler_status out_of_memory(void)
{
	return error_raise(SIMPLER_ENOMEM, "out of memory for a dispatch");
}

/* --- slots; with the lock --- */

static uint64_t tag_of(const struct lane_batch *lane, uint32_t slot)
{
	return (uint64_t)lane->slots[slot].generation << 32 | slot;
}

static void await(struct lane_batch *lane, bool awaited)
{
	if (lane->carrier->await)
		lane->carrier->await(lane, awaited);
}

static bool take_slot(struct lane_batch *lane, struct lane_dispatch *dispatch)
{
	struct lane_slot *slot;

	if (lane->first_free == LANE_NO_SLOT)
		return false;
	dispatch->slot = lane->first_free;
	slot = &lane->slots[dispatch->slot];
	lane->first_free = slot->next_free;
	slot->generation++;
	slot->dispatch = dispatch;
	if (lane->taken++ == 0)
		await(lane, true);
	return true;
}

static void free_slot(struct lane_batch *lane, uint32_t index)
{
	struct lane_slot *slot = &lane->slots[index];

	slot->dispatch = NULL;
	slot->generation++;
	slot->next_free = lane->first_free;
	lane->first_free = index;
	if (--lane->taken == 0)
		await(lane, false);
}

/* --- bytes on their way out; with the lock --- */

/* In microseconds, and not 0, which is for ever. */
static uint64_t timeout_of(int64_t deadline)
{
	int64_t left;

	if (deadline == CLOCK_NEVER)
		return 0;
	left = deadline - clock_now();
	return left < 1000 ? 1 : (uint64_t)left / 1000;
}

/* Those whose turn it is, as long as there are slots. Without memory for it they wait on. */
static void admit_waiting(struct lane_batch *lane)
{
	while (lane->waiting && lane->first_free != LANE_NO_SLOT) {
		struct lane_dispatch *dispatch = lane->waiting;
		size_t size = load_le32(dispatch->record);
		uint8_t *room = lane_bytes_room(&lane->out, size);

		if (!room)
			return;
		DL_DELETE(lane->waiting, dispatch);
		(void)take_slot(lane, dispatch);
		memcpy(room, dispatch->record, size);
		lane_dispatch_stamp(room, tag_of(lane, dispatch->slot),
		                    timeout_of(dispatch->deadline));
		lane->out.size += size;
		free(dispatch->record);
		dispatch->record = NULL;
	}
}

/* --- sending --- */

/* With the lock, which it releases while it sends; nobody else does then. */
static void flush(struct lane_batch *lane)
{
	if (lane->sending)
		return;
	lane->sending = true;
	while (lane->sending && lane->corks == 0 && lane->state == LANE_OPEN) {
		size_t size;
		bool more;

		if (lane->sent == lane->under_way.size) {
			struct lane_bytes empty;

			lane_bytes_clear(&lane->under_way);
			lane->sent = 0;
			if (lane->out.size == 0)
				break;
			empty = lane->under_way;
			lane->under_way = lane->out;
			lane->out = empty;
		}
		size = lane_bytes_cut(lane->under_way.bytes + lane->sent,
		                      lane->under_way.size - lane->sent,
		                      lane->carrier->batch_bytes);
		pthread_mutex_unlock(&lane->lane.lock);
		atomic_fetch_add_explicit(&lane->lane.batches, 1, memory_order_relaxed);
		lane->sent += size;
		more = lane->carrier->send(lane, lane->under_way.bytes + lane->sent - size, size);
		if (INJECT("lane.sent"))
			lane_batch_lost(lane, "it is lost, for a test");
		pthread_mutex_lock(&lane->lane.lock);
		if (!more)
			return; /* whoever hears that it was sent goes on */
	}
	lane->sending = false;
}

void lane_batch_sent(struct lane_batch *lane)
{
	pthread_mutex_lock(&lane->lane.lock);
	lane->sending = false;
	flush(lane);
	pthread_mutex_unlock(&lane->lane.lock);
}

/* --- submit --- */

/* With the lock. It has no slot yet, and its record neither tag nor time: see admit_waiting(). */
static simpler_status wait_for_slot(struct lane_batch *lane, struct lane_dispatch *dispatch,
                                    const struct msg_dispatch *message, size_t size)
{
	dispatch->record = malloc(size);
	if (!dispatch->record)
		return out_of_memory();
	lane_dispatch_encode(message, 0, 0, dispatch->record);
	DL_APPEND(lane->waiting, dispatch);
	return SIMPLER_OK;
}

/* With the lock. */
static simpler_status place(struct lane_batch *lane, struct lane_dispatch *dispatch,
                            const struct msg_dispatch *message, size_t size)
{
	uint8_t *room;

	if (lane->state != LANE_OPEN)
		return error_raise(SIMPLER_EUNAVAILABLE, "the lane is not open");
	if (dispatch->cancelled)
		return error_raise(SIMPLER_ECANCELLED, "it was stopped");
	if (lane->waiting || lane->first_free == LANE_NO_SLOT)
		return wait_for_slot(lane, dispatch, message, size);
	room = lane_bytes_room(&lane->out, size);
	if (!room)
		return out_of_memory();
	(void)take_slot(lane, dispatch);
	lane_dispatch_encode(message, tag_of(lane, dispatch->slot), timeout_of(dispatch->deadline),
	                     room);
	lane->out.size += size;
	return SIMPLER_OK;
}

static simpler_status batch_submit(struct lane *base, struct lane_dispatch *dispatch,
                                   const struct msg_dispatch *message)
{
	struct lane_batch *lane = (struct lane_batch *)base;
	size_t size = lane_dispatch_bytes(message);
	simpler_status status;

	if (size > lane->carrier->record_bytes)
		return error_raise(SIMPLER_EINVAL, "the dispatch takes %zu bytes, and the lane %zu",
		                   size, lane->carrier->record_bytes);
	lane_hold(base); /* its end may come in here */
	pthread_mutex_lock(&base->lock);
	status = place(lane, dispatch, message, size);
	if (status == SIMPLER_OK) {
		atomic_fetch_add_explicit(&base->dispatches, 1, memory_order_relaxed);
		flush(lane);
	}
	pthread_mutex_unlock(&base->lock);
	lane_drop(base);
	return status;
}

/* --- ends --- */

static bool batch_cancel(struct lane *base, struct lane_dispatch *dispatch)
{
	struct lane_batch *lane = (struct lane_batch *)base;
	bool waits, in_flight;

	pthread_mutex_lock(&base->lock);
	dispatch->cancelled = true;
	waits = dispatch->record != NULL;
	in_flight = !waits && dispatch->slot < lane->slot_count &&
	            lane->slots[dispatch->slot].dispatch == dispatch;
	if (waits) {
		DL_DELETE(lane->waiting, dispatch);
		free(dispatch->record);
		dispatch->record = NULL;
	}
	/* The slot is the node's until it answers. */
	if (in_flight)
		lane->slots[dispatch->slot].dispatch = NULL;
	pthread_mutex_unlock(&base->lock);
	return waits || in_flight;
}

/* With the lock: the dispatch that the tag names, whose slot is free now. NULL of one that was
 * cancelled; `*known` says whether it was any. */
static struct lane_dispatch *end_tag(struct lane_batch *lane, uint64_t tag, bool *known)
{
	uint32_t index = (uint32_t)tag;
	struct lane_dispatch *dispatch;

	*known = index < lane->slot_count && lane->slots[index].generation == tag >> 32 &&
	         lane->slots[index].generation % 2 == 1;
	if (!*known)
		return NULL;
	dispatch = lane->slots[index].dispatch;
	free_slot(lane, index);
	admit_waiting(lane);
	return dispatch;
}

static void tell(struct lane_dispatch *dispatch, const struct lane_outcome *outcome)
{
	struct lane_answer answer = { .code = outcome->code,
		                      .note = outcome->note,
		                      .ask_elsewhere = outcome->ask_elsewhere };
	char text[MSG_TEXT_MAX + 1];
	size_t size = outcome->size < MSG_TEXT_MAX ? outcome->size : MSG_TEXT_MAX;

	if (outcome->code == RPC_OK) {
		answer.data = outcome->bytes;
		answer.size = outcome->size;
	} else {
		if (size > 0)
			memcpy(text, outcome->bytes, size);
		text[size] = '\0';
		answer.text = text;
	}
	dispatch->done(dispatch, &answer);
}

static simpler_status take_outcome(struct lane_batch *lane, const struct lane_record *record)
{
	struct lane_outcome outcome;
	struct lane_dispatch *dispatch;
	simpler_status status = lane_outcome_decode(record, &outcome);
	bool known;

	if (status != SIMPLER_OK)
		return status;
	pthread_mutex_lock(&lane->lane.lock);
	dispatch = end_tag(lane, record->tag, &known);
	pthread_mutex_unlock(&lane->lane.lock);
	if (!known)
		return error_raise(SIMPLER_EINVAL, "an outcome names no dispatch in flight");
	if (dispatch)
		tell(dispatch, &outcome);
	return SIMPLER_OK;
}

/* --- opening --- */

/* `*opened` is false when it has died meanwhile. */
static simpler_status make_slots(struct lane_batch *lane, uint32_t count, bool *opened)
{
	struct lane_slot *slots = calloc(count, sizeof(slots[0]));

	if (!slots)
		return out_of_memory();
	for (uint32_t i = 0; i < count; i++)
		slots[i].next_free = i + 1 < count ? i + 1 : LANE_NO_SLOT;
	pthread_mutex_lock(&lane->lane.lock);
	*opened = lane->state == LANE_OPENING;
	if (*opened) {
		lane->slots = slots;
		lane->slot_count = count;
		lane->first_free = 0;
		lane->state = LANE_OPEN;
		await(lane, false);
		lane->opening = true;
		slots = NULL;
	}
	pthread_mutex_unlock(&lane->lane.lock);
	free(slots);
	return SIMPLER_OK;
}

static void tell_opened(struct lane_batch *lane)
{
	bool ended;

	lane->owner.opened(lane->owner.context, &lane->lane);
	pthread_mutex_lock(&lane->lane.lock);
	lane->opening = false;
	ended = lane->ended_so_soon && !lane->closing;
	pthread_mutex_unlock(&lane->lane.lock);
	if (ended)
		lane->owner.lost(lane->owner.context, &lane->lane, "it ended when it was open");
}

static simpler_status take_hello(struct lane_batch *lane, const struct lane_record *record)
{
	struct lane_hello hello;
	simpler_status status = lane_hello_decode(record, &hello);
	bool opened = false;

	if (INJECT("lane.open"))
		status = error_raise(SIMPLER_EUNAVAILABLE, "it does not open, for a test");
	if (status == SIMPLER_OK)
		status = make_slots(lane, hello.credits, &opened);
	if (opened)
		tell_opened(lane);
	return status;
}

/* --- batches that come --- */

static void ended(struct lane_batch *lane);

static simpler_status take_record(struct lane_batch *lane, const struct lane_record *record,
                                  enum lane_state *state)
{
	simpler_status status;

	if (*state == LANE_OPENING) {
		*state = LANE_OPEN;
		return take_hello(lane, record);
	}
	if (record->kind != LANE_GOODBYE)
		return take_outcome(lane, record);
	status = lane_goodbye_decode(record);
	if (status == SIMPLER_OK) {
		*state = LANE_DEAD;
		ended(lane);
	}
	return status;
}

void lane_batch_cork(struct lane_batch *lane)
{
	pthread_mutex_lock(&lane->lane.lock);
	lane->corks++;
	pthread_mutex_unlock(&lane->lane.lock);
}

void lane_batch_uncork(struct lane_batch *lane)
{
	pthread_mutex_lock(&lane->lane.lock);
	lane->corks--;
	flush(lane);
	pthread_mutex_unlock(&lane->lane.lock);
}

static enum lane_state state_of(struct lane_batch *lane)
{
	enum lane_state state;

	pthread_mutex_lock(&lane->lane.lock);
	state = lane->state;
	pthread_mutex_unlock(&lane->lane.lock);
	return state;
}

void lane_batch_take(struct lane_batch *lane, const uint8_t *bytes, size_t size)
{
	enum lane_state state = state_of(lane);
	simpler_status status = SIMPLER_OK;
	struct lane_record record;

	lane_batch_cork(lane);
	while (size > 0 && status == SIMPLER_OK && state != LANE_DEAD) {
		status = lane_next_record(&bytes, &size, &record);
		if (status == SIMPLER_OK)
			status = take_record(lane, &record, &state);
	}
	lane_batch_uncork(lane);
	if (status != SIMPLER_OK)
		lane_batch_lost(lane, simpler_last_error_step(0));
}

static void batch_check(struct lane *base)
{
	struct lane_batch *lane = (struct lane_batch *)base;

	if (lane->carrier->check)
		lane->carrier->check(lane);
}

/* --- the end --- */

/* With the lock: all that is in flight or waits, in one list. */
static struct lane_dispatch *take_all(struct lane_batch *lane)
{
	struct lane_dispatch *all = lane->waiting, *each;

	lane->waiting = NULL;
	DL_FOREACH (all, each) {
		free(each->record);
		each->record = NULL;
	}
	for (uint32_t i = 0; i < lane->slot_count; i++) {
		if (lane->slots[i].dispatch)
			DL_APPEND(all, lane->slots[i].dispatch);
		lane->slots[i].dispatch = NULL;
	}
	return all;
}

static void die(struct lane_batch *lane, const char *why, enum rpc_note note, bool closing)
{
	/* It may be an error of this thread, which those that are told overwrite. */
	char text[ERROR_STEP_BYTES];
	struct lane_answer answer = { .code = RPC_UNAVAILABLE, .note = note, .text = text };
	struct lane_dispatch *all, *next;
	bool dies, tells;

	(void)snprintf(text, sizeof(text), "%s", why);
	lane_hold(&lane->lane);
	pthread_mutex_lock(&lane->lane.lock);
	dies = lane->state != LANE_DEAD;
	lane->state = LANE_DEAD;
	lane->closing = lane->closing || closing;
	lane->ended_so_soon = lane->ended_so_soon || (dies && lane->opening);
	tells = dies && !lane->closing && !lane->opening;
	all = take_all(lane);
	pthread_mutex_unlock(&lane->lane.lock);
	(void)INJECT("lane.dead");
	if (dies)
		lane->carrier->close(lane);
	if (tells && note == RPC_NOTE_NOT_RUN && lane->owner.ending)
		lane->owner.ending(lane->owner.context);
	if (tells)
		lane->owner.lost(lane->owner.context, &lane->lane, text);
	for (; all; all = next) {
		next = all->next;
		all->done(all, &answer);
	}
	lane_drop(&lane->lane);
}

void lane_batch_lost(struct lane_batch *lane, const char *why)
{
	die(lane, why, RPC_NOTE_NONE, false);
}

static void ended(struct lane_batch *lane)
{
	die(lane, "the node is ending", RPC_NOTE_NOT_RUN, false);
}

static void batch_lose(struct lane *base, const char *why)
{
	lane_batch_lost((struct lane_batch *)base, why);
}

static void batch_close(struct lane *base)
{
	die((struct lane_batch *)base, "the lane was closed", RPC_NOTE_NONE, true);
}

static void batch_release(struct lane *base)
{
	struct lane_batch *lane = (struct lane_batch *)base;

	lane->carrier->release(lane);
}

void lane_batch_destroy(struct lane_batch *lane)
{
	assert(!lane->waiting);
	free(lane->slots);
	lane_bytes_release(&lane->out);
	lane_bytes_release(&lane->under_way);
	(void)pthread_mutex_destroy(&lane->lane.lock);
}

static const struct lane_ops batch_ops = {
	.submit = batch_submit,
	.cancel = batch_cancel,
	.check = batch_check,
	.lose = batch_lose,
	.close = batch_close,
	.release = batch_release,
};

void lane_batch_init(struct lane_batch *lane, const struct lane_carrier *carrier,
                     const struct lane_owner *owner)
{
	lane->lane.ops = &batch_ops;
	lane->lane.name = carrier->name;
	atomic_init(&lane->lane.references, 1);
	(void)pthread_mutex_init(&lane->lane.lock, NULL);
	lane->carrier = carrier;
	lane->owner = *owner;
	lane->first_free = LANE_NO_SLOT;
}
