#include "fabric/line.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "os/random.h"

/* Messages that have come and are not taken yet. The provider keeps more of them itself. */
#define RECEIVES 16u

/* --- ending --- */

static void tell_ended(struct fabric_line *line, const char *why)
{
	bool tells;

	pthread_mutex_lock(&line->lock);
	tells = !line->ended && line->state != FABRIC_LINE_CLOSED;
	line->ended = true;
	pthread_mutex_unlock(&line->lock);
	if (tells)
		line->events->ended(line, why);
}

/* --- sending; with the line's lock --- */

/* In which order what is wanted goes. */
static enum line_kind next_kind(unsigned wanted)
{
	static const enum line_kind order[] = { LINE_HELLO, LINE_PONG, LINE_PING, LINE_DATA };

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if (wanted >> order[i] & 1)
			return order[i];
	}
	return LINE_CLOSE;
}

static void set_body(struct fabric_line *line, const uint8_t *bytes, size_t size)
{
	line->op.local = (uint8_t *)(uintptr_t)bytes; /* which a message leaves as they are */
	line->op.nbytes = size;
}

static void send_next(struct fabric_line *line)
{
	struct line_head head = { .line = line->peer_id, .number = line->sent };

	if (line->busy || line->wanted == 0)
		return;
	head.kind = line->kind = next_kind(line->wanted);
	line_head_encode(&head, line->head);
	line->wanted &= ~(1u << line->kind);
	line->sent++;
	line->busy = true;
	line->op.peer = line->peer;
	line->op.nbytes = 0;
	line->op.deadline =
		line->kind == LINE_CLOSE ? clock_after_ms(FABRIC_LINE_CLOSE_MS) : CLOCK_NEVER;
	if (line->kind == LINE_DATA)
		set_body(line, line->data, line->size);
	else if (line->kind == LINE_CLOSE)
		set_body(line, (const uint8_t *)line->why, strlen(line->why));
	fabric_start(&line->op);
}

static void want(struct fabric_line *line, enum line_kind kind)
{
	line->wanted |= 1u << kind;
	send_next(line);
}

/* Of a line that is closed, when nothing more is to be sent. */
static void let_go_of_port(struct fabric_line *line)
{
	if (line->state != FABRIC_LINE_CLOSED || line->busy || !line->port)
		return;
	fabric_port_abandon(line->port);
	line->port = NULL;
}

static void on_done(struct fabric_op *op, const struct error *error)
{
	struct fabric_line *line =
		(struct fabric_line *)((char *)op - offsetof(struct fabric_line, op));
	bool tells;

	pthread_mutex_lock(&line->lock);
	line->busy = false;
	tells = !error && line->kind == LINE_DATA && line->state == FABRIC_LINE_JOINED &&
	        !line->ended;
	send_next(line);
	let_go_of_port(line);
	pthread_mutex_unlock(&line->lock);
	if (error)
		tell_ended(line, error_step(error, 0));
	if (tells)
		line->events->sent(line);
}

void fabric_line_send(struct fabric_line *line, const uint8_t *bytes, size_t size)
{
	pthread_mutex_lock(&line->lock);
	if (line->state == FABRIC_LINE_JOINED) {
		line->data = bytes;
		line->size = size;
		want(line, LINE_DATA);
	}
	pthread_mutex_unlock(&line->lock);
}

void fabric_line_check(struct fabric_line *line)
{
	int64_t now = clock_now();
	bool silent = false;

	pthread_mutex_lock(&line->lock);
	if (line->asked_at != 0) {
		silent = now - line->asked_at > FABRIC_LINE_PATIENCE_MS * CLOCK_MS;
	} else if (line->state == FABRIC_LINE_JOINED && !line->ended) {
		line->asked_at = now;
		want(line, LINE_PING);
	}
	pthread_mutex_unlock(&line->lock);
	if (silent)
		tell_ended(line, "the other end of the fabric does not answer");
}

/* --- what comes --- */

/* Whether it is of the other end, and nothing is between it and the one before. */
static bool admit(struct fabric_line *line, const struct fabric_address *from,
                  const struct line_head *head)
{
	bool known, follows;

	pthread_mutex_lock(&line->lock);
	known = line->state == FABRIC_LINE_JOINED && !line->ended &&
	        fabric_address_equal(&line->peer_address, from);
	if (known)
		line->asked_at = 0;
	if (known && head->kind == LINE_CLOSE)
		line->left = true;
	if (known && (head->kind == LINE_PING || head->kind == LINE_HELLO))
		want(line, LINE_PONG);
	pthread_mutex_unlock(&line->lock);
	if (!known || head->kind == LINE_CLOSE)
		return known;
	follows = head->number == line->taken++;
	if (!follows)
		tell_ended(line, "the fabric has lost messages");
	return follows;
}

static void tell_left(struct fabric_line *line, const uint8_t *text, size_t size)
{
	struct error error;

	error_init_untrusted(&error, SIMPLER_EUNAVAILABLE, (const char *)text, size);
	tell_ended(line, error_step(&error, 0));
}

static void take(struct fabric_line *line, const struct line_head *head, const uint8_t *body,
                 size_t size)
{
	if (head->kind == LINE_CLOSE)
		tell_left(line, body, size);
	else if (head->kind == LINE_DATA)
		line->events->received(line, body, size);
	else if (head->kind == LINE_HELLO && head->number == 0)
		line->events->joined(line);
}

static void on_message(void *context, const struct fabric_address *from, const uint8_t *bytes,
                       size_t size)
{
	struct fabric_line *line = context;
	struct line_head head;

	if (line_head_decode(bytes, size, &head) == SIMPLER_OK && head.line == line->id &&
	    admit(line, from, &head))
		take(line, &head, bytes + LINE_HEAD_BYTES, size - LINE_HEAD_BYTES);
}

/* --- a line's life --- */

void fabric_line_init(struct fabric_line *line, const struct fabric_line_events *events)
{
	line->events = events;
	line->id = random_u64();
	line->op.kind = FABRIC_SEND;
	line->op.head = line->head;
	line->op.head_bytes = sizeof(line->head);
	line->op.done = on_done;
	(void)pthread_mutex_init(&line->lock, NULL);
}

static void on_gone(void *context)
{
	struct fabric_line *line = context;

	line->events->drop(line);
}

static simpler_status closed_meanwhile(void)
{
	return error_raise(SIMPLER_ESTATE, "the line was closed");
}

simpler_status fabric_line_open(struct fabric_line *line, struct fabric *fabric)
{
	const struct fabric_port_options options = { .received = on_message,
		                                     .gone = on_gone,
		                                     .context = line,
		                                     .receives = RECEIVES,
		                                     .message_bytes = FABRIC_MESSAGE_MAX };
	struct fabric_port *port;
	bool closed;
	simpler_status status;

	line->events->hold(line);
	status = fabric_port_open(fabric, &options, &port);
	if (status != SIMPLER_OK) {
		line->events->drop(line);
		return status;
	}
	pthread_mutex_lock(&line->lock);
	line->port = port;
	closed = line->state == FABRIC_LINE_CLOSED;
	if (!closed)
		line->state = FABRIC_LINE_ALONE;
	let_go_of_port(line);
	pthread_mutex_unlock(&line->lock);
	return closed ? closed_meanwhile() : SIMPLER_OK;
}

void fabric_line_address(struct fabric_line *line, struct fabric_address *out)
{
	pthread_mutex_lock(&line->lock);
	out->size = 0;
	if (line->port)
		*out = *fabric_port_address(line->port);
	pthread_mutex_unlock(&line->lock);
}

/* With its lock. */
static void join(struct fabric_line *line, const struct fabric_address *address, uint64_t id,
                 bool says_hello)
{
	line->peer_id = id;
	line->peer_address = *address;
	line->state = FABRIC_LINE_JOINED;
	if (!says_hello)
		return;
	line->asked_at = clock_now();
	want(line, LINE_HELLO);
}

simpler_status fabric_line_join(struct fabric_line *line, const struct fabric_address *address,
                                uint64_t id, bool says_hello)
{
	simpler_status status;

	pthread_mutex_lock(&line->lock);
	status = line->state == FABRIC_LINE_ALONE
	                 ? fabric_peer_open(line->port, address, &line->peer)
	                 : closed_meanwhile();
	if (status == SIMPLER_OK)
		join(line, address, id, says_hello);
	pthread_mutex_unlock(&line->lock);
	return status;
}

void fabric_line_close(struct fabric_line *line, const char *why)
{
	pthread_mutex_lock(&line->lock);
	if (line->state == FABRIC_LINE_CLOSED) {
		pthread_mutex_unlock(&line->lock);
		return;
	}
	line->wanted = 0;
	if (line->busy)
		fabric_cancel(&line->op);
	if (line->state == FABRIC_LINE_JOINED && !line->left) {
		(void)snprintf(line->why, sizeof(line->why), "%s", why);
		want(line, LINE_CLOSE);
	}
	line->state = FABRIC_LINE_CLOSED;
	let_go_of_port(line);
	pthread_mutex_unlock(&line->lock);
}

void fabric_line_destroy(struct fabric_line *line)
{
	(void)pthread_mutex_destroy(&line->lock);
}
