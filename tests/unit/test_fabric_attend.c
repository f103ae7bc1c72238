/* Who drives a fabric: its own thread, or one that waits for an operation's end. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fabric/fabric.h"

#define PATIENT_MS 20000u
#define BYTES      100000u

static const struct fabric_options fabric_options = { FABRIC_TCP, "127.0.0.1" };

/* --- a port with a region, and one of another fabric, which has nothing else to do --- */

struct rig {
	struct fabric *theirs, *ours;
	struct fabric_port *there, *here;
	struct fabric_peer *peer;
	struct fabric_place place;
	uint8_t local[BYTES], remote[BYTES];
	_Atomic uint32_t messages;
};

static int set_up(void **state)
{
	const struct fabric_port_options none = { .landed = NULL };
	struct rig *rig = calloc(1, sizeof(*rig));
	struct fabric_region *region;

	assert_non_null(rig);
	memset(rig->local, 5, BYTES);
	assert_int_equal(fabric_open(&fabric_options, &rig->theirs), SIMPLER_OK);
	assert_int_equal(fabric_open(&fabric_options, &rig->ours), SIMPLER_OK);
	assert_int_equal(fabric_port_open(rig->theirs, &none, &rig->there), SIMPLER_OK);
	assert_int_equal(fabric_port_open(rig->ours, &none, &rig->here), SIMPLER_OK);
	assert_int_equal(fabric_peer_open(rig->here, fabric_port_address(rig->there), &rig->peer),
	                 SIMPLER_OK);
	assert_int_equal(
		fabric_region_open(rig->there, rig->remote, BYTES, FABRIC_WRITABLE, &region),
		SIMPLER_OK);
	fabric_region_place(region, &rig->place);
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	fabric_port_close(rig->here);
	fabric_port_close(rig->there);
	fabric_close(rig->ours);
	fabric_close(rig->theirs);
	free(rig);
	return 0;
}

struct write {
	struct fabric_op op; /* first */
	pthread_t by;
	simpler_status status;
	_Atomic bool ended;
};

static void on_done(struct fabric_op *op, const struct error *error)
{
	struct write *write = (struct write *)op;

	write->by = pthread_self();
	write->status = error ? error->status : SIMPLER_OK;
	atomic_store(&write->ended, true);
}

static void begin(struct rig *rig, struct write *write, bool attended)
{
	*write = (struct write){ .op = { .kind = FABRIC_WRITE,
		                         .peer = rig->peer,
		                         .local = rig->local,
		                         .nbytes = BYTES,
		                         .key = rig->place.key,
		                         .remote = rig->place.base,
		                         .delivered = true,
		                         .attended = attended,
		                         .deadline = clock_after_ms(PATIENT_MS),
		                         .done = on_done } };
	fabric_start(&write->op);
}

static void await_end(const struct write *write)
{
	const struct timespec moment = { .tv_nsec = 50000 };
	int64_t until = clock_after_ms(PATIENT_MS);

	while (!atomic_load(&write->ended) && clock_now() < until)
		(void)nanosleep(&moment, NULL);
	assert_true(atomic_load(&write->ended));
}

/* Whether this thread has heard of its end by itself. */
static bool write_and_attend(struct rig *rig)
{
	struct write write;

	begin(rig, &write, true);
	(void)fabric_attend(rig->ours, &write.ended);
	await_end(&write);
	assert_int_equal(write.status, SIMPLER_OK);
	return pthread_equal(write.by, pthread_self()) != 0;
}

/* The fabric's thread leaves when it has seen that somebody wants to. */
static void attend_until_let(struct rig *rig)
{
	int64_t until = clock_after_ms(PATIENT_MS);

	while (!write_and_attend(rig))
		assert_true(clock_now() < until);
}

/* --- tests --- */

static void one_that_waits_is_let_where_nothing_else_is_to_be_done(void **state)
{
	struct rig *rig = *state;

	attend_until_let(rig);
	for (size_t i = 0; i < BYTES; i++)
		assert_int_equal(rig->remote[i], 5);
}

static void what_nobody_attends_does_not_wait_for_one_who_does(void **state)
{
	enum { TIMES = 51, LONG_MS = 10 };
	struct rig *rig = *state;
	unsigned late = 0;

	for (unsigned i = 0; i < TIMES; i++) {
		struct write write;
		int64_t began;

		attend_until_let(rig);
		began = clock_now();
		begin(rig, &write, false);
		await_end(&write);
		assert_int_equal(write.status, SIMPLER_OK);
		assert_false(pthread_equal(write.by, pthread_self()));
		late += clock_now() - began > LONG_MS * CLOCK_MS;
	}
	/* A machine that is busy is late sometimes; a fabric that is at rest, always. */
	assert_in_range(late, 0, TIMES / 2);
}

static void *write_many(void *context)
{
	for (unsigned i = 0; i < 200; i++)
		(void)write_and_attend(context);
	return NULL;
}

static void of_several_that_wait_each_is_told_of_its_own(void **state)
{
	pthread_t threads[4];

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_many, *state), 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void note_received(void *context, const struct fabric_address *from, const uint8_t *bytes,
                          size_t size)
{
	struct rig *rig = context;

	(void)from;
	(void)bytes;
	(void)size;
	atomic_fetch_add(&rig->messages, 1);
}

static void the_fabrics_thread_stays_where_messages_may_come(void **state)
{
	struct rig *rig = *state;
	const struct fabric_port_options options = {
		.received = note_received, .context = rig, .receives = 4, .message_bytes = 64
	};
	struct fabric_port *port;

	attend_until_let(rig);
	assert_int_equal(fabric_port_open(rig->ours, &options, &port), SIMPLER_OK);
	for (unsigned i = 0; i < 20; i++)
		assert_false(write_and_attend(rig));
	fabric_port_close(port);
	attend_until_let(rig);
}

static void *cancel_soon(void *context)
{
	const struct timespec moment = { .tv_nsec = 2000000 };
	struct write *write = context;

	(void)nanosleep(&moment, NULL);
	fabric_cancel(&write->op);
	return NULL;
}

static void one_that_waits_is_woken_by_a_cancel(void **state)
{
	struct rig *rig = *state;
	struct fabric_address nobody = *fabric_port_address(rig->there);
	struct fabric_peer *peer = rig->peer;
	struct write write;
	pthread_t thread;

	attend_until_let(rig);
	/* A port of loopback at which nobody listens, and libfabric tries again and again. */
	nobody.bytes[2] = 0;
	nobody.bytes[3] = 9;
	assert_int_equal(fabric_peer_open(rig->here, &nobody, &rig->peer), SIMPLER_OK);
	begin(rig, &write, true);
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &write), 0);
	(void)fabric_attend(rig->ours, &write.ended);
	await_end(&write);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(write.status, SIMPLER_ECANCELLED);
	fabric_peer_close(rig->peer);
	rig->peer = peer;
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(one_that_waits_is_let_where_nothing_else_is_to_be_done),
		CASE(what_nobody_attends_does_not_wait_for_one_who_does),
		CASE(of_several_that_wait_each_is_told_of_its_own),
		CASE(the_fabrics_thread_stays_where_messages_may_come),
		CASE(one_that_waits_is_woken_by_a_cancel),
	};
	struct fabric *fabric;

	if (fabric_open(&fabric_options, &fabric) != SIMPLER_OK) {
		(void)fprintf(stderr, "skipped: %s\n", simpler_last_error());
		return 77;
	}
	fabric_close(fabric);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
