/*
 * Lines of a fabric, by the provider tcp over loopback: what is sent comes, in its order; what is
 * of somebody else does not; and an end that has gone, closed, or stays silent is told of.
 *
 * Where the other end is to break the rules, it is a bare port.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fabric/line.h"

#define PATIENT_MS 20000u

static const struct fabric_options loopback = { FABRIC_TCP, "127.0.0.1" };

/* --- an owner of a line --- */

struct end {
	struct fabric_line line; /* first */
	_Atomic uint32_t references, joined, sent, received, ended;
	struct fabric_address address;
	uint8_t bytes[FABRIC_LINE_BYTES];
	size_t size;
	char why[200];
};

static void hold(struct fabric_line *line)
{
	((struct end *)line)->references++;
}

static void drop(struct fabric_line *line)
{
	struct end *end = (struct end *)line;

	if (--end->references > 0)
		return;
	fabric_line_destroy(line);
	free(end);
}

static void note_joined(struct fabric_line *line)
{
	((struct end *)line)->joined++;
}

/* The first byte counts them. */
static void note_received(struct fabric_line *line, const uint8_t *bytes, size_t size)
{
	struct end *end = (struct end *)line;

	if (size > 0)
		assert_int_equal(bytes[0], (uint8_t)end->received);
	memcpy(end->bytes, bytes, size);
	end->size = size;
	end->received++;
}

static void note_sent(struct fabric_line *line)
{
	((struct end *)line)->sent++;
}

static void note_ended(struct fabric_line *line, const char *why)
{
	struct end *end = (struct end *)line;

	(void)snprintf(end->why, sizeof(end->why), "%s", why);
	end->ended++;
}

static const struct fabric_line_events events = { hold,          drop,      note_joined,
	                                          note_received, note_sent, note_ended };

static struct end *make_end(struct fabric *fabric)
{
	struct end *end = calloc(1, sizeof(*end));

	assert_non_null(end);
	end->references = 1;
	fabric_line_init(&end->line, &events);
	assert_int_equal(fabric_line_open(&end->line, fabric), SIMPLER_OK);
	fabric_line_address(&end->line, &end->address);
	return end;
}

static void nap(void)
{
	const struct timespec moment = { .tv_nsec = 200000 };

	(void)nanosleep(&moment, NULL);
}

static bool comes_to(const _Atomic uint32_t *count, uint32_t want)
{
	int64_t until = clock_after_ms(PATIENT_MS);

	while (*count < want && clock_now() < until)
		nap();
	return *count == want;
}

static void let_go(struct end *end)
{
	fabric_line_close(&end->line, "the test has ended");
	drop(&end->line);
}

/* --- two processes, as it were, and a line between them --- */

struct pair {
	struct fabric *fabric;
	struct end *near, *far;
};

static int set_up(void **state)
{
	struct pair *pair = calloc(1, sizeof(*pair));

	assert_non_null(pair);
	assert_int_equal(fabric_open(&loopback, &pair->fabric), SIMPLER_OK);
	pair->near = make_end(pair->fabric);
	pair->far = make_end(pair->fabric);
	assert_int_equal(fabric_line_join(&pair->far->line, &pair->near->address,
	                                  pair->near->line.id, false),
	                 SIMPLER_OK);
	assert_int_equal(
		fabric_line_join(&pair->near->line, &pair->far->address, pair->far->line.id, true),
		SIMPLER_OK);
	assert_true(comes_to(&pair->far->joined, 1));
	*state = pair;
	return 0;
}

static int tear_down(void **state)
{
	struct pair *pair = *state;

	let_go(pair->near);
	let_go(pair->far);
	fabric_close(pair->fabric);
	free(pair);
	return 0;
}

/* --- messages --- */

static void send_and_await(struct end *from, struct end *to, uint32_t count, size_t size)
{
	static uint8_t bytes[FABRIC_LINE_BYTES];

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(count + i * 7);
	fabric_line_send(&from->line, bytes, size);
	assert_true(comes_to(&from->sent, count + 1));
	assert_true(comes_to(&to->received, count + 1));
	assert_int_equal(to->size, size);
	assert_memory_equal(to->bytes, bytes, size);
}

static void what_is_sent_comes_both_ways(void **state)
{
	static const size_t sizes[] = {
		1,    100,   FABRIC_LINE_QUICK_BYTES, FABRIC_LINE_QUICK_BYTES + 1,
		8000, 20000, FABRIC_LINE_BYTES
	};
	struct pair *pair = *state;

	for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		send_and_await(pair->near, pair->far, i, sizes[i]);
		send_and_await(pair->far, pair->near, i, sizes[i]);
	}
	assert_int_equal(pair->near->ended + pair->far->ended, 0);
}

/* Short ones behind long ones, without waiting for more than that they have gone. */
static void nothing_overtakes(void **state)
{
	enum { MANY = 400 };
	struct pair *pair = *state;
	uint8_t *bytes = calloc(MANY, FABRIC_LINE_BYTES);

	assert_non_null(bytes);
	for (uint32_t i = 0; i < MANY; i++) {
		uint8_t *message = bytes + i * FABRIC_LINE_BYTES;

		message[0] = (uint8_t)i;
		fabric_line_send(&pair->near->line, message, i % 3 == 0 ? FABRIC_LINE_BYTES : 1);
		fabric_line_check(&pair->near->line);
		assert_true(comes_to(&pair->near->sent, i + 1));
	}
	assert_true(comes_to(&pair->far->received, MANY));
	assert_int_equal(pair->near->ended + pair->far->ended, 0);
	free(bytes);
}

/* --- others --- */

struct stranger {
	struct fabric_port *port;
	struct fabric_peer *peer;
	_Atomic uint32_t messages;
};

static void note_message(void *context, const struct fabric_address *from, const uint8_t *bytes,
                         size_t size)
{
	(void)from;
	(void)bytes;
	(void)size;
	((struct stranger *)context)->messages++;
}

static void come_by(struct stranger *stranger, struct fabric *fabric, const struct end *end)
{
	const struct fabric_port_options options = {
		.received = note_message, .context = stranger, .receives = 4, .message_bytes = 4096
	};

	assert_int_equal(fabric_port_open(fabric, &options, &stranger->port), SIMPLER_OK);
	assert_int_equal(fabric_peer_open(stranger->port, &end->address, &stranger->peer),
	                 SIMPLER_OK);
}

struct letter {
	struct fabric_op op;
	_Atomic uint32_t done;
};

static void note_done(struct fabric_op *op, const struct error *error)
{
	assert_null(error);
	((struct letter *)op)->done++;
}

static void say(const struct stranger *stranger, uint8_t *bytes, size_t size)
{
	struct letter *letter = calloc(1, sizeof(*letter));

	assert_non_null(letter);
	letter->op.kind = FABRIC_SEND;
	letter->op.peer = stranger->peer;
	letter->op.local = bytes;
	letter->op.nbytes = size;
	letter->op.deadline = CLOCK_NEVER;
	letter->op.done = note_done;
	fabric_start(&letter->op);
	assert_true(comes_to(&letter->done, 1));
	free(letter);
}

static void say_kind(const struct stranger *stranger, uint64_t line, uint32_t number,
                     enum line_kind kind)
{
	const struct line_head head = { line, number, kind };
	uint8_t bytes[LINE_HEAD_BYTES];

	line_head_encode(&head, bytes);
	say(stranger, bytes, sizeof(bytes));
}

static void a_strangers_messages_are_dropped(void **state)
{
	struct pair *pair = *state;
	struct stranger stranger = { .messages = 0 };
	uint8_t junk[300];

	memset(junk, 0xa5, sizeof(junk));
	come_by(&stranger, pair->fabric, pair->far);
	for (size_t size = 0; size <= sizeof(junk); size += 60)
		say(&stranger, junk, size);
	for (int kind = LINE_HELLO; kind <= LINE_CLOSE; kind++) {
		/* The right line, by one who is not its other end. */
		say_kind(&stranger, pair->far->line.id, 1, (enum line_kind)kind);
		/* No line. */
		say_kind(&stranger, pair->far->line.id + 1, 1, (enum line_kind)kind);
	}
	send_and_await(pair->near, pair->far, 0, 100); /* it is behind those */
	assert_int_equal(pair->far->joined, 1);
	assert_int_equal(pair->far->ended, 0);
	assert_int_equal(stranger.messages, 0);
	fabric_port_close(stranger.port);
}

/* Its other end says it was not there. */
static void a_message_before_it_is_joined_is_dropped(void **state)
{
	struct pair *pair = *state;
	struct end *end = make_end(pair->fabric);
	struct stranger early = { .messages = 0 };

	come_by(&early, pair->fabric, end);
	say_kind(&early, end->line.id, 0, LINE_HELLO);
	assert_int_equal(fabric_line_join(&end->line, fabric_port_address(early.port), 5, false),
	                 SIMPLER_OK);
	say_kind(&early, end->line.id, 0, LINE_HELLO);
	assert_true(comes_to(&end->joined, 1));
	assert_true(comes_to(&early.messages, 1));
	assert_int_equal(end->ended, 0);
	let_go(end);
	assert_true(comes_to(&early.messages, 2)); /* that it was closed */
	fabric_port_close(early.port);
}

/* --- ends --- */

static void closing_is_told_to_the_other_end(void **state)
{
	struct pair *pair = *state;

	fabric_line_close(&pair->near->line, "it is late");
	assert_true(comes_to(&pair->far->ended, 1));
	assert_string_equal(pair->far->why, "it is late");
	assert_int_equal(pair->near->ended, 0);
}

static void a_message_that_is_missing_ends_the_line(void **state)
{
	static const struct {
		uint32_t first, second;
	} cases[] = { { 0, 2 }, { 1, 2 }, { 0, 0 } };
	struct pair *pair = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct end *end = make_end(pair->fabric);
		struct stranger other = { .messages = 0 };

		come_by(&other, pair->fabric, end);
		assert_int_equal(
			fabric_line_join(&end->line, fabric_port_address(other.port), 5, false),
			SIMPLER_OK);
		say_kind(&other, end->line.id, cases[i].first, LINE_HELLO);
		say_kind(&other, end->line.id, cases[i].second, LINE_PING);
		assert_true(comes_to(&end->ended, 1));
		assert_string_equal(end->why, "the fabric has lost messages");
		let_go(end);
		fabric_port_close(other.port);
	}
}

/* It takes all and says nothing. */
static void an_end_that_does_not_answer_is_told_of(void **state)
{
	struct pair *pair = *state;
	struct end *end = make_end(pair->fabric);
	struct stranger mute = { .messages = 0 };
	int64_t begun = clock_now();

	come_by(&mute, pair->fabric, end);
	assert_int_equal(fabric_line_join(&end->line, fabric_port_address(mute.port), 5, true),
	                 SIMPLER_OK);
	while (end->ended == 0 && clock_now() < begun + PATIENT_MS * CLOCK_MS) {
		fabric_line_check(&end->line);
		fabric_line_check(&pair->near->line); /* of an end that answers */
		nap();
	}
	assert_int_equal(end->ended, 1);
	assert_true(clock_now() - begun > FABRIC_LINE_PATIENCE_MS * CLOCK_MS);
	assert_int_equal(pair->near->ended, 0);
	let_go(end);
	fabric_port_close(mute.port);
}

/* A port that nobody has any more: where a process was that is gone. */
static void an_end_that_is_gone_is_told_of(void **state)
{
	struct pair *pair = *state;
	struct end *end = make_end(pair->fabric);
	struct stranger gone = { .messages = 0 };
	struct fabric_address address;

	come_by(&gone, pair->fabric, end);
	address = *fabric_port_address(gone.port);
	fabric_port_close(gone.port);
	assert_int_equal(fabric_line_join(&end->line, &address, 5, true), SIMPLER_OK);
	assert_true(comes_to(&end->ended, 1));
	let_go(end);
}

static void an_end_whose_port_is_shut_is_told_of(void **state)
{
	struct pair *pair = *state;
	int64_t until = clock_after_ms(PATIENT_MS);

	fabric_port_shut(pair->far->line.port);
	while (pair->near->ended == 0 && clock_now() < until) {
		fabric_line_check(&pair->near->line);
		nap();
	}
	assert_int_equal(pair->near->ended, 1);
	fabric_line_check(&pair->far->line);
	assert_true(comes_to(&pair->far->ended, 1));
}

static void what_is_closed_is_quiet(void **state)
{
	struct pair *pair = *state;
	uint8_t byte = 0;

	fabric_line_close(&pair->near->line, "done");
	fabric_line_close(&pair->near->line, "again");
	fabric_line_send(&pair->near->line, &byte, 1);
	fabric_line_check(&pair->near->line);
	assert_true(comes_to(&pair->far->ended, 1));
	assert_string_equal(pair->far->why, "done");
	assert_int_equal(pair->near->sent + pair->far->received + pair->near->ended, 0);
}

/* As when the answer that tells of the other end comes too late. */
static void a_closed_line_is_neither_opened_nor_joined(void **state)
{
	struct pair *pair = *state;
	struct end *end = make_end(pair->fabric), *anew = calloc(1, sizeof(*anew));

	fabric_line_close(&end->line, "late");
	assert_int_equal(fabric_line_join(&end->line, &pair->far->address, 5, true),
	                 SIMPLER_ESTATE);
	let_go(end);
	assert_non_null(anew);
	anew->references = 1;
	fabric_line_init(&anew->line, &events);
	fabric_line_close(&anew->line, "early");
	assert_int_equal(fabric_line_open(&anew->line, pair->fabric), SIMPLER_ESTATE);
	let_go(anew);
}

/* One that has a message under way to an end that takes nothing. */
static void closing_does_not_wait_for_the_other_end(void **state)
{
	enum { MANY = 4000 };
	struct pair *pair = *state;
	struct end *end = make_end(pair->fabric);
	const struct fabric_port_options options = { .receives = 0 };
	struct stranger deaf = { .messages = 0 };
	static uint8_t bytes[FABRIC_LINE_BYTES];
	int64_t begun = clock_now(), until = clock_after_ms(3000);
	uint32_t sent = 0;

	assert_int_equal(fabric_port_open(pair->fabric, &options, &deaf.port), SIMPLER_OK);
	assert_int_equal(fabric_line_join(&end->line, fabric_port_address(deaf.port), 5, false),
	                 SIMPLER_OK);
	while (sent < MANY && clock_now() < until && end->ended == 0) {
		fabric_line_send(&end->line, bytes, sizeof(bytes));
		while (end->sent == sent && clock_now() < until && end->ended == 0)
			nap();
		sent++;
	}
	begun = clock_now();
	let_go(end);
	fabric_port_close(deaf.port);
	assert_true(clock_now() - begun < 2000 * CLOCK_MS);
}

int main(void)
{
#define WITH_PAIR(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		WITH_PAIR(what_is_sent_comes_both_ways),
		WITH_PAIR(nothing_overtakes),
		WITH_PAIR(a_strangers_messages_are_dropped),
		WITH_PAIR(a_message_before_it_is_joined_is_dropped),
		WITH_PAIR(closing_is_told_to_the_other_end),
		WITH_PAIR(a_message_that_is_missing_ends_the_line),
		WITH_PAIR(an_end_that_does_not_answer_is_told_of),
		WITH_PAIR(an_end_that_is_gone_is_told_of),
		WITH_PAIR(an_end_whose_port_is_shut_is_told_of),
		WITH_PAIR(what_is_closed_is_quiet),
		WITH_PAIR(a_closed_line_is_neither_opened_nor_joined),
		WITH_PAIR(closing_does_not_wait_for_the_other_end),
	};
	struct fabric *fabric;

	if (fabric_open(&loopback, &fabric) != SIMPLER_OK) {
		(void)fprintf(stderr, "skipped: %s\n", simpler_last_error());
		return 77;
	}
	fabric_close(fabric);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
