/* Sessions with a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "node/sessions.h"

#define SESSION UINT64_C(0x5e55)
#define OTHER   UINT64_C(0x0743)

static int64_t moment;

static int64_t manual_clock(void)
{
	return moment;
}

#define MOST       4096u
#define MOST_TASKS 3u

/* What an owner was told. */
static struct told {
	unsigned renewals, leaves, ends;
	uint64_t session;
	bool detached;
} told;

static void on_renew(void *context, uint64_t session)
{
	struct told *by = context;

	by->renewals++;
	by->session = session;
}

static void on_end(void *context, uint64_t session, bool detached)
{
	struct told *by = context;

	by->ends++;
	by->session = session;
	by->detached = detached;
}

static void on_leave(void *context, uint64_t session)
{
	struct told *by = context;

	by->leaves++;
	by->session = session;
}

static const struct session_owner owner = { on_renew, on_end, &told, on_leave };

static simpler_status create(const struct session_owner *owners, struct sessions **out)
{
	const struct sessions_options options = { owners, 1, MOST, MOST_TASKS, manual_clock };

	return sessions_create(&options, out);
}

static int set_up(void **state)
{
	struct sessions *sessions;

	moment = 1000 * CLOCK_S;
	told = (struct told){ 0 };
	assert_int_equal(create(&owner, &sessions), SIMPLER_OK);
	*state = sessions;
	return 0;
}

static int tear_down(void **state)
{
	sessions_destroy(*state);
	return 0;
}

static struct session_state attach(struct sessions *sessions, uint64_t session, uint64_t ttl_ms)
{
	struct session_state is;

	assert_int_equal(sessions_attach(sessions, session, ttl_ms, &is), SIMPLER_OK);
	return is;
}

static void attaching_again_renews(void **state)
{
	struct session_state is = attach(*state, SESSION, 500);

	assert_false(is.known);
	assert_int_equal(is.ttl_ms, 500);
	assert_true(is.until == moment + 500 * CLOCK_MS);
	assert_int_equal(told.renewals, 0);
	moment += 400 * CLOCK_MS;
	assert_true(sessions_expire(*state) == is.until);
	is = attach(*state, SESSION, 500);
	assert_true(is.known);
	assert_int_equal(told.renewals, 1);
	assert_true(told.session == SESSION);
	moment += 499 * CLOCK_MS;
	assert_true(sessions_expire(*state) == is.until);
	assert_int_equal(told.ends, 0);
}

static void times_to_live_have_limits(void **state)
{
	static const struct {
		uint64_t asked, granted;
	} cases[] = {
		{ 0, SESSIONS_TTL_MS },
		{ 1, SESSIONS_TTL_MS_MIN },
		{ 100, 100 },
		{ SESSIONS_TTL_MS_MAX, SESSIONS_TTL_MS_MAX },
		{ UINT64_MAX, SESSIONS_TTL_MS_MAX },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(attach(*state, SESSION, cases[i].asked).ttl_ms, cases[i].granted);
}

static void a_silent_session_is_over_and_its_owner_is_told_once(void **state)
{
	struct session_state is = attach(*state, SESSION, 500);

	(void)attach(*state, OTHER, 900);
	moment = is.until;
	assert_true(sessions_expire(*state) == moment + 400 * CLOCK_MS);
	assert_int_equal(told.ends, 1);
	assert_true(told.session == SESSION && !told.detached);
	assert_int_equal(sessions_enter(*state, SESSION), SIMPLER_ESTATE);
	(void)sessions_expire(*state);
	sessions_detach(*state, SESSION);
	assert_int_equal(told.ends, 1);
	assert_false(attach(*state, SESSION, 500).known);
	moment += 900 * CLOCK_MS;
	assert_true(sessions_expire(*state) == CLOCK_NEVER);
	assert_int_equal(told.ends, 3);
}

static void a_detached_session_is_over_at_once(void **state)
{
	(void)attach(*state, SESSION, 500);
	sessions_detach(*state, OTHER);
	assert_int_equal(told.ends, 0);
	sessions_detach(*state, SESSION);
	assert_int_equal(told.ends, 1);
	assert_true(told.detached);
	assert_true(sessions_expire(*state) == CLOCK_NEVER);
}

static void a_session_is_over_only_when_its_last_call_has_ended(void **state)
{
	struct session_state is = attach(*state, SESSION, 500);

	assert_int_equal(sessions_enter(*state, SESSION), SIMPLER_OK);
	assert_int_equal(sessions_enter(*state, SESSION), SIMPLER_OK);
	moment = is.until;
	(void)sessions_expire(*state);
	assert_int_equal(told.ends, 0);
	assert_int_equal(sessions_enter(*state, SESSION), SIMPLER_ESTATE);
	assert_int_equal(sessions_attach(*state, SESSION, 500, &is), SIMPLER_EUNAVAILABLE);
	sessions_leave(*state, SESSION);
	assert_int_equal(told.ends, 0);
	sessions_leave(*state, SESSION);
	assert_int_equal(told.ends, 1);
	assert_false(attach(*state, SESSION, 500).known);
}

static void that_its_client_is_gone_is_told_before_its_calls_have_ended(void **state)
{
	struct session_state is = attach(*state, SESSION, 500);

	(void)attach(*state, OTHER, 86400000);
	assert_int_equal(sessions_enter(*state, SESSION), SIMPLER_OK);
	assert_int_equal(sessions_enter(*state, OTHER), SIMPLER_OK);
	moment = is.until;
	(void)sessions_expire(*state);
	assert_int_equal(told.leaves, 1);
	assert_true(told.session == SESSION);
	sessions_detach(*state, OTHER);
	assert_int_equal(told.leaves, 2);
	assert_true(told.session == OTHER);
	assert_int_equal(told.ends, 0);
	sessions_detach(*state, OTHER);
	(void)sessions_expire(*state);
	sessions_leave(*state, SESSION);
	sessions_leave(*state, OTHER);
	assert_int_equal(told.leaves, 2);
	assert_int_equal(told.ends, 2);
}

static void clients_without_a_session_come_and_go(void **state)
{
	assert_int_equal(sessions_enter(*state, 0), SIMPLER_OK);
	sessions_leave(*state, 0);
	assert_int_equal(sessions_enter(*state, SESSION), SIMPLER_ESTATE);
	assert_non_null(strstr(simpler_last_error(), "5e55 is not attached"));
}

static void there_is_a_limit_of_sessions(void **state)
{
	struct session_state is;

	for (uint64_t i = 1; i <= MOST; i++)
		(void)attach(*state, i, 500);
	assert_int_equal(sessions_attach(*state, MOST + 1, 500, &is), SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), "4096 sessions"));
	assert_true(attach(*state, 7, 500).known);
	sessions_detach(*state, 7);
	assert_false(attach(*state, MOST + 1, 500).known);
}

/* --- by many threads, each with the one session that all of them end and begin --- */

#define THREADS 4
#define ROUNDS  20000

static atomic_uint begun, ended;

static void count_renewal(void *context, uint64_t session)
{
	(void)context;
	(void)session;
}

static void count_end(void *context, uint64_t session, bool detached)
{
	(void)context;
	(void)session;
	(void)detached;
	atomic_fetch_add(&ended, 1);
}

static void *come_and_go(void *context)
{
	struct sessions *sessions = context;
	struct session_state is;

	for (int i = 0; i < ROUNDS; i++) {
		if (sessions_attach(sessions, SESSION, 500, &is) == SIMPLER_OK && !is.known)
			atomic_fetch_add(&begun, 1);
		if (sessions_enter(sessions, SESSION) == SIMPLER_OK)
			sessions_leave(sessions, SESSION);
		if (i % 3 == 0)
			sessions_detach(sessions, SESSION);
	}
	return NULL;
}

static void every_beginning_has_one_end(void **state)
{
	static const struct session_owner counter = { count_renewal, count_end, NULL, NULL };
	struct sessions *sessions;
	pthread_t threads[THREADS];

	(void)state;
	assert_int_equal(create(&counter, &sessions), SIMPLER_OK);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, sessions), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	sessions_detach(sessions, SESSION);
	assert_int_equal(atomic_load(&ended), atomic_load(&begun));
	assert_true(sessions_expire(sessions) == CLOCK_NEVER);
	sessions_destroy(sessions);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void tasks_of_a_session_are_limited_and_those_of_all_that_have_none(void **state)
{
	struct sessions *sessions = *state;
	struct session_state attached;

	assert_int_equal(sessions_enter_task(sessions, 9), SIMPLER_ESTATE);
	assert_int_equal(sessions_attach(sessions, 9, 0, &attached), SIMPLER_OK);
	assert_int_equal(sessions_attach(sessions, 10, 0, &attached), SIMPLER_OK);
	for (uint64_t id = 0; id < 11; id += id == 0 ? 9 : 1) {
		for (unsigned i = 0; i < MOST_TASKS; i++)
			assert_int_equal(sessions_enter_task(sessions, id), SIMPLER_OK);
		assert_int_equal(sessions_enter_task(sessions, id), SIMPLER_ENOSPACE);
		assert_non_null(strstr(simpler_last_error(), "3 tasks of this session"));
		/* Other calls are none. */
		assert_int_equal(sessions_enter(sessions, id), SIMPLER_OK);
		sessions_leave(sessions, id);
	}
	sessions_leave_task(sessions, 9);
	assert_int_equal(sessions_enter_task(sessions, 9), SIMPLER_OK);
	assert_int_equal(sessions_enter_task(sessions, 10), SIMPLER_ENOSPACE);
	/* Its end waits for its tasks as for other calls. */
	sessions_detach(sessions, 9);
	for (unsigned i = 0; i < MOST_TASKS; i++) {
		assert_int_equal(told.ends, 0);
		sessions_leave_task(sessions, 9);
	}
	assert_int_equal(told.ends, 1);
}

static void who_renews_again_and_again_is_known_to_do_so_soon(void **state)
{
	struct sessions *sessions = *state;
	int64_t since;

	(void)attach(sessions, SESSION, 0);
	(void)attach(sessions, OTHER, 0);
	moment += 3 * CLOCK_S;
	assert_int_equal(sessions_hear_by(sessions, moment), 0); /* nobody has renewed anything */
	(void)attach(sessions, SESSION, 0);
	moment += CLOCK_S;
	since = moment;
	assert_int_equal(sessions_hear_by(sessions, since), since + 5 * CLOCK_S);
	(void)attach(sessions, OTHER, 0);
	(void)attach(sessions, OTHER, 0);
	moment += CLOCK_S;
	(void)attach(sessions, OTHER, 0);
	assert_int_equal(sessions_hear_by(sessions, since), since + 5 * CLOCK_S);
	(void)attach(sessions, SESSION, 0);
	assert_int_equal(sessions_hear_by(sessions, since), moment);
	sessions_detach(sessions, SESSION);
	sessions_detach(sessions, OTHER);
	assert_int_equal(sessions_hear_by(sessions, since), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(attaching_again_renews),
		TEST(who_renews_again_and_again_is_known_to_do_so_soon),
		TEST(times_to_live_have_limits),
		TEST(a_silent_session_is_over_and_its_owner_is_told_once),
		TEST(a_detached_session_is_over_at_once),
		TEST(a_session_is_over_only_when_its_last_call_has_ended),
		TEST(that_its_client_is_gone_is_told_before_its_calls_have_ended),
		TEST(clients_without_a_session_come_and_go),
		TEST(there_is_a_limit_of_sessions),
		TEST(tasks_of_a_session_are_limited_and_those_of_all_that_have_none),
		cmocka_unit_test(every_beginning_has_one_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
