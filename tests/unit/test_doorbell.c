/* A doorbell between threads: no ring is lost, and a deadline is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "base/clock.h"
#include "ipc/doorbell.h"

#define LONG_MS 60000 /* far longer than any test: a wait that lasts it is a lost wake-up */

static void a_ring_between_ticket_and_wait_is_not_lost(void **state)
{
	struct doorbell bell = { 0 };
	struct spin_budget budget = { 0 };
	uint32_t ticket = doorbell_ticket(&bell);

	(void)state;
	(void)doorbell_ring(&bell);
	assert_true(doorbell_wait(&bell, ticket, &budget, CLOCK_NEVER));
	assert_int_equal(doorbell_sleepers(&bell), 0);
}

static void waiting_ends_at_the_deadline_and_not_before(void **state)
{
	static const int64_t margins[] = { -CLOCK_S, 0, CLOCK_MS / 100, 5 * CLOCK_MS };
	struct doorbell bell = { 0 };
	struct spin_budget budget = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(margins) / sizeof(margins[0]); i++) {
		int64_t deadline = clock_now() + margins[i];

		assert_false(doorbell_wait(&bell, doorbell_ticket(&bell), &budget, deadline));
		assert_true(clock_now() >= deadline);
	}
	assert_false(doorbell_wait(&bell, doorbell_ticket(&bell), &budget, INT64_MIN));
	assert_int_equal(doorbell_sleepers(&bell), 0);
}

static void the_counter_may_wrap(void **state)
{
	struct doorbell bell = { .count = UINT32_MAX };
	struct spin_budget budget = { 0 };
	uint32_t ticket = doorbell_ticket(&bell);

	(void)state;
	(void)doorbell_ring(&bell);
	assert_int_equal(doorbell_ticket(&bell), 0);
	assert_true(doorbell_wait(&bell, ticket, &budget, CLOCK_NEVER));
}

/* Wait in vain, so many times for so long. */
static void wait_in_vain(struct spin_budget *budget, unsigned times, int64_t nanoseconds)
{
	struct doorbell bell = { 0 };

	for (unsigned i = 0; i < times; i++)
		assert_false(doorbell_wait(&bell, doorbell_ticket(&bell), budget,
		                           clock_now() + nanoseconds));
}

/* So many waits for a ring that has come already. */
static void wait_not_at_all(struct spin_budget *budget, unsigned times)
{
	struct doorbell bell = { 0 };

	for (unsigned i = 0; i < times; i++) {
		uint32_t ticket = doorbell_ticket(&bell);

		(void)doorbell_ring(&bell);
		assert_true(doorbell_wait(&bell, ticket, budget, CLOCK_NEVER));
	}
}

static void a_waiter_spins_while_its_waits_are_short(void **state)
{
	struct spin_budget budget = { 0 };

	(void)state;
	wait_not_at_all(&budget, 4);
	assert_int_equal(budget.nanoseconds, DOORBELL_SPIN_NS);
	wait_in_vain(&budget, 100, CLOCK_MS);
	assert_in_range(budget.nanoseconds, 1, DOORBELL_SPIN_NS - 1);
	/* One short wait among long ones is no reason; a few are. */
	wait_not_at_all(&budget, 1);
	assert_in_range(budget.nanoseconds, 1, DOORBELL_SPIN_NS - 1);
	wait_not_at_all(&budget, 4);
	assert_int_equal(budget.nanoseconds, DOORBELL_SPIN_NS);
}

static void a_spin_without_a_sleep_tries_now_and_then_whether_it_pays(void **state)
{
	struct spin_budget budget = { .most = 1000000 };
	struct doorbell bell = { 0 };
	unsigned long_ones = 0;

	(void)state;
	for (int i = 0; i < 200; i++) {
		int64_t began = clock_now();

		assert_false(doorbell_linger(&bell, doorbell_ticket(&bell), &budget));
		long_ones += clock_now() - began >= 1000000;
	}
	assert_in_range(long_ones, 2, 100);
}

/* --- two threads, in turns --- */

#define TURNS 20000u

struct table {
	struct doorbell bells[2];
	_Atomic uint32_t served[2]; /* by each side */
	bool slow;                  /* one side waits until the other surely sleeps */
};

/* Wait until the other side has served `turn` times; false if a ring was lost. */
static bool await_turn(struct table *table, int side, uint32_t turn, struct spin_budget *budget)
{
	for (;;) {
		uint32_t ticket = doorbell_ticket(&table->bells[side]);

		if (atomic_load_explicit(&table->served[!side], memory_order_relaxed) >= turn)
			return true;
		if (!doorbell_wait(&table->bells[side], ticket, budget, clock_after_ms(LONG_MS)))
			return false;
	}
}

static void serve(struct table *table, int side)
{
	while (table->slow && doorbell_sleepers(&table->bells[!side]) == 0)
		(void)sched_yield();
	atomic_fetch_add_explicit(&table->served[side], 1, memory_order_relaxed);
	(void)doorbell_ring(&table->bells[!side]);
}

static void *play_second(void *argument)
{
	struct table *table = argument;
	struct spin_budget budget = { 0 };

	for (uint32_t turn = 1; turn <= TURNS; turn++) {
		if (!await_turn(table, 1, turn, &budget))
			return NULL;
		serve(table, 1);
	}
	return argument;
}

static void play(bool slow)
{
	struct table table = { .slow = slow };
	struct spin_budget budget = { 0 };
	pthread_t second;
	void *result;

	assert_int_equal(pthread_create(&second, NULL, play_second, &table), 0);
	for (uint32_t turn = 1; turn <= TURNS; turn++) {
		serve(&table, 0);
		assert_true(await_turn(&table, 0, turn, &budget));
	}
	assert_int_equal(pthread_join(second, &result), 0);
	assert_ptr_equal(result, &table);
	assert_int_equal(doorbell_sleepers(&table.bells[0]), 0);
}

static void no_ring_is_lost_when_both_are_quick(void **state)
{
	(void)state;
	play(false);
}

static void no_ring_is_lost_when_the_waiter_sleeps(void **state)
{
	(void)state;
	play(true);
}

/* --- many threads on one bell --- */

#define WAITERS 8

struct crowd {
	struct doorbell bell;
	_Atomic uint32_t work, done;
	_Atomic bool stop;
};

/* Take one unit of work if there is one. */
static bool take(struct crowd *crowd)
{
	uint32_t left = atomic_load(&crowd->work);

	while (left > 0) {
		if (atomic_compare_exchange_weak(&crowd->work, &left, left - 1)) {
			atomic_fetch_add(&crowd->done, 1);
			return true;
		}
	}
	return false;
}

static void *wait_in_crowd(void *argument)
{
	struct crowd *crowd = argument;
	struct spin_budget budget = { 0 };

	while (!atomic_load(&crowd->stop)) {
		uint32_t ticket = doorbell_ticket(&crowd->bell);

		if (take(crowd) || atomic_load(&crowd->stop))
			continue;
		if (!doorbell_wait(&crowd->bell, ticket, &budget, clock_after_ms(LONG_MS)))
			return NULL;
	}
	return argument;
}

static void more_waiters_than_cores_do_all_the_work_and_all_end(void **state)
{
	struct crowd crowd = { .work = 0 };
	pthread_t threads[WAITERS];
	void *result;

	(void)state;
	for (int i = 0; i < WAITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, wait_in_crowd, &crowd), 0);
	for (uint32_t i = 1; i <= 2000; i++) {
		atomic_fetch_add(&crowd.work, 1);
		(void)doorbell_ring(&crowd.bell);
		while (i % 100 == 0 && atomic_load(&crowd.done) < i)
			(void)sched_yield();
	}
	atomic_store(&crowd.stop, true);
	doorbell_ring_all(&crowd.bell);
	for (int i = 0; i < WAITERS; i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_ptr_equal(result, &crowd);
	}
	assert_int_equal(atomic_load(&crowd.done), 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ring_between_ticket_and_wait_is_not_lost),
		cmocka_unit_test(waiting_ends_at_the_deadline_and_not_before),
		cmocka_unit_test(the_counter_may_wrap),
		cmocka_unit_test(a_waiter_spins_while_its_waits_are_short),
		cmocka_unit_test(a_spin_without_a_sleep_tries_now_and_then_whether_it_pays),
		cmocka_unit_test(no_ring_is_lost_when_both_are_quick),
		cmocka_unit_test(no_ring_is_lost_when_the_waiter_sleeps),
		cmocka_unit_test(more_waiters_than_cores_do_all_the_work_and_all_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
