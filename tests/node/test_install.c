/*
 * Callables whose module does not pass its trial, and such as an engine does not survive, or does
 * not finish, loading: the front end's side of its engine alone, with a deadline shorter than a
 * daemon's.
 */
#include "front_end.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "node/engine_client.h"
#include "os/descriptor.h"
#include "os/events.h"
#include "os/memory.h"

#define ARENA_BYTES (UINT64_C(1) << 20)
#define PATIENCE_MS 30000

struct fixture {
	struct engine_options options;
	struct policy *policy;
	struct catalog *catalog;
	struct engine_client *client;
};

static int set_up(void **state)
{
	const struct catalog_options options = CATALOG_OPTIONS_INIT;
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	fixture->options = (struct engine_options){
		.program = getenv("SIMPLER_HOST"),
		.node_id = NODE_ID,
		.sub_workers = 1,
		.arena_bytes = ARENA_BYTES,
		.install_ms = 200,
	};
	assert_int_equal(memory_create("arena", ARENA_BYTES, &fixture->options.arena_fd),
	                 SIMPLER_OK);
	assert_int_equal(events_wakeup(&fixture->options.wakeup), SIMPLER_OK);
	assert_int_equal(policy_create(POLICY_ANY, NULL, &fixture->policy), SIMPLER_OK);
	fixture->catalog = catalog_create(&options, fixture->policy);
	assert_non_null(fixture->catalog);
	assert_int_equal(
		engine_client_create(&fixture->options, fixture->catalog, &fixture->client),
		SIMPLER_OK);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	engine_client_stop(fixture->client);
	engine_client_destroy(fixture->client);
	catalog_destroy(fixture->catalog);
	policy_destroy(fixture->policy);
	(void)close(fixture->options.arena_fd);
	(void)close(fixture->options.wakeup);
	free(fixture);
	return 0;
}

/* A callable with this captured state, pending. */
static struct catalog_entry offer(struct fixture *fixture, const char *state)
{
	struct catalog_offering offering = { .commit = true };
	struct catalog_entry entry;
	struct callable callable;
	bool fresh;

	callable_make(&callable, SIMPLER_KIND_ORCH, "who", state);
	offering.callable_id = callable.id;
	offering.payload = (simpler_bytes){ callable.payload, callable.payload_size };
	assert_int_equal(catalog_offer(fixture->catalog, &offering, &entry, &fresh), SIMPLER_OK);
	assert_true(fresh);
	callable_release(&callable);
	return entry;
}

/* As one that an earlier engine has loaded. */
static struct catalog_entry offer_known(struct fixture *fixture, const char *state)
{
	struct catalog_entry entry = offer(fixture, state);

	catalog_settle(fixture->catalog, entry.key, true);
	return entry;
}

struct answer {
	bool done, lost;
	struct error error;
};

/* What a daemon's supervisor does, until the engine is ready and `answer`, if it is not NULL, is
 * there. Returns how many engines died meanwhile. */
static unsigned run_until(struct fixture *fixture, const struct answer *answer)
{
	const int64_t end = clock_after_ms(PATIENCE_MS);
	enum engine_state before = engine_client_state(fixture->client), now;
	struct pollfd fds[ENGINE_CLIENT_FDS];
	unsigned deaths = 0;

	for (;;) {
		int64_t next = engine_client_step(fixture->client);
		int64_t left = (next < end ? next : end) - clock_now();

		now = engine_client_state(fixture->client);
		deaths += now == ENGINE_DOWN && before != ENGINE_DOWN;
		before = now;
		if (now == ENGINE_READY && (!answer || answer->done))
			return deaths;
		assert_true(clock_now() < end);
		engine_client_fds(fixture->client, fds);
		(void)poll(fds, ENGINE_CLIENT_FDS, left > 0 ? (int)(left / CLOCK_MS) + 1 : 0);
	}
}

static void start_engine(struct fixture *fixture)
{
	assert_int_equal(engine_client_start(fixture->client), SIMPLER_OK);
}

static void answered(void *context, bool lost, const struct error *error)
{
	struct answer *answer = context;

	answer->done = true;
	answer->lost = lost;
	answer->error = *error;
}

static void install(struct fixture *fixture, const struct catalog_entry *entry,
                    struct answer *answer)
{
	*answer = (struct answer){ .done = false };
	assert_int_equal(engine_client_install(fixture->client, entry->key, answered, answer),
	                 SIMPLER_OK);
}

static const struct {
	const char *state, *behind; /* of the callable, and of one that is pushed behind it */
} never_answered[] = {
	{ FAKE_STATE_HANG, "behind one that hangs" },
	{ FAKE_STATE_STOP, "behind one that stops" },
};

static void expect_too_slow(const struct answer *answer)
{
	assert_true(answer->lost);
	assert_int_equal(answer->error.status, SIMPLER_EUNAVAILABLE);
	assert_non_null(
		strstr(error_step(&answer->error, 0), "loading 'who' took longer than 0.2 s"));
	assert_string_equal(error_step(&answer->error, 1), "loading 'who'");
}

static void a_callable_that_takes_too_long_to_load_fails_and_is_not_tried_again(void **state)
{
	struct fixture *fixture = *state;

	start_engine(fixture);
	assert_int_equal(run_until(fixture, NULL), 0);
	for (size_t i = 0; i < 2; i++) {
		struct catalog_entry slow = offer(fixture, never_answered[i].state);
		struct catalog_entry behind = offer(fixture, never_answered[i].behind), found;
		struct answer slow_answer, behind_answer;

		install(fixture, &slow, &slow_answer);
		install(fixture, &behind, &behind_answer);
		/* The supervisor may be asleep without an end. */
		assert_true(descriptor_wait_readable(fixture->options.wakeup, 0));
		events_clear(fixture->options.wakeup);
		assert_int_equal(run_until(fixture, &slow_answer), 1);
		expect_too_slow(&slow_answer);
		assert_true(behind_answer.done && behind_answer.lost);
		assert_false(catalog_get(fixture->catalog, slow.key, &found));
		behind = offer(fixture, never_answered[i].behind);
		install(fixture, &behind, &behind_answer);
		assert_int_equal(run_until(fixture, &behind_answer), 0);
		assert_int_equal(behind_answer.error.status, SIMPLER_OK);
	}
}

static const char *const not_survived[] = { FAKE_STATE_DIE, FAKE_STATE_HANG, FAKE_STATE_STOP };

static void a_known_callable_that_three_engines_died_of_is_dropped(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct catalog_entry first, deadly, last, found;
		struct fixture *fixture;

		(void)set_up((void **)&fixture);
		first = offer_known(fixture, "before it");
		deadly = offer_known(fixture, not_survived[i]);
		last = offer_known(fixture, "after it");
		start_engine(fixture);
		assert_int_equal(run_until(fixture, NULL), CATALOG_MOST_DEATHS);
		assert_int_equal(catalog_find(fixture->catalog, deadly.callable_id, 0, &found),
		                 SIMPLER_ENOTFOUND);
		assert_true(catalog_get(fixture->catalog, first.key, &found));
		assert_false(catalog_get(fixture->catalog, deadly.key, &found));
		assert_true(catalog_get(fixture->catalog, last.key, &found));
		(void)tear_down((void **)&fixture);
	}
}

/* --- trials --- */

static const struct {
	const char *told;
	simpler_status status;
	const char *says;
} refused[] = {
	{ FAKE_TRIAL_REFUSE, SIMPLER_EINVAL, "was told to refuse" },
	{ FAKE_TRIAL_DIE, SIMPLER_EINVAL,
	  "the process that tried to load it exited with status 6" },
	{ FAKE_TRIAL_GARBAGE, SIMPLER_EINVAL, "the process that tried to load it exited" },
	/* It is not the front end's to be patient for ever. */
	{ FAKE_TRIAL_STUCK, SIMPLER_EINVAL, "the process that tried to load it was killed" },
};

/* Two callables of the module are pushed, and neither gets to the engine. */
static void expect_refusal(struct fixture *fixture, size_t which)
{
	struct catalog_entry entries[] = { offer(fixture, "one"), offer(fixture, "two") }, found;
	struct answer answers[2];

	assert_int_equal(setenv(FAKE_TRIAL, refused[which].told, 1), 0);
	for (size_t i = 0; i < 2; i++)
		install(fixture, &entries[i], &answers[i]);
	assert_int_equal(run_until(fixture, &answers[0]), 0);
	assert_int_equal(unsetenv(FAKE_TRIAL), 0);
	for (size_t i = 0; i < 2; i++) {
		assert_true(answers[i].done);
		assert_false(answers[i].lost);
		assert_int_equal(answers[i].error.status, refused[which].status);
		assert_non_null(strstr(error_step(&answers[i].error, 0), refused[which].says));
		assert_non_null(strstr(error_step(&answers[i].error, 1), "'who'"));
		assert_false(catalog_get(fixture->catalog, entries[i].key, &found));
	}
}

static void a_module_that_does_not_pass_its_trial_is_refused_and_the_engine_goes_on(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct fixture *fixture;
		struct catalog_entry good;
		struct answer answer;

		(void)set_up((void **)&fixture);
		start_engine(fixture);
		assert_int_equal(run_until(fixture, NULL), 0);
		expect_refusal(fixture, i);
		good = offer(fixture, "good");
		install(fixture, &good, &answer);
		assert_int_equal(run_until(fixture, &answer), 0);
		assert_int_equal(answer.error.status, SIMPLER_OK);
		(void)tear_down((void **)&fixture);
	}
}

/* Runs the supervisor until nothing is left to do at once. */
static void install_one(struct fixture *fixture, const char *captured)
{
	struct catalog_entry entry = offer(fixture, captured);
	struct answer answer;

	install(fixture, &entry, &answer);
	(void)run_until(fixture, &answer);
	assert_int_equal(answer.error.status, SIMPLER_OK);
}

static void a_module_is_tried_once_whatever_its_callables_and_engines(void **state)
{
	struct fixture *fixture = *state;
	char path[] = "/tmp/simpler-trials-XXXXXX";
	int trials = mkstemp(path);
	struct catalog_entry deadly;
	struct answer answer;

	assert_true(trials >= 0);
	assert_int_equal(setenv(FAKE_TRIALS, path, 1), 0);
	start_engine(fixture);
	assert_int_equal(run_until(fixture, NULL), 0);
	install_one(fixture, "first");
	assert_int_equal(lseek(trials, 0, SEEK_END), 1);
	install_one(fixture, "second");
	deadly = offer(fixture, FAKE_STATE_DIE);
	install(fixture, &deadly, &answer);
	assert_int_equal(run_until(fixture, &answer), 1);
	assert_true(answer.lost);
	install_one(fixture, "third");
	assert_int_equal(lseek(trials, 0, SEEK_END), 1);
	assert_int_equal(unsetenv(FAKE_TRIALS), 0);
	(void)close(trials);
	(void)unlink(path);
}

static bool is_trying(struct fixture *fixture)
{
	struct pollfd fds[ENGINE_CLIENT_FDS];

	(void)engine_client_step(fixture->client);
	engine_client_fds(fixture->client, fds);
	return fds[2].fd >= 0;
}

/* What reaps the engine's processes must not wait for those of a trial, nor take them for its. */
static void an_engine_that_ends_ends_the_trial_and_the_callable_is_lost(void **state)
{
	static const char *const told[] = { FAKE_TRIAL_WAIT, FAKE_TRIAL_STUCK };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct fixture *fixture;
		struct catalog_entry tried;
		struct answer answer;

		(void)set_up((void **)&fixture);
		start_engine(fixture);
		assert_int_equal(run_until(fixture, NULL), 0);
		assert_int_equal(setenv(FAKE_TRIAL, told[i], 1), 0);
		tried = offer(fixture, "tried");
		install(fixture, &tried, &answer);
		assert_true(is_trying(fixture));
		assert_int_equal(unsetenv(FAKE_TRIAL), 0);
		engine_client_stop(fixture->client);
		assert_true(answer.done && answer.lost);
		assert_int_equal(answer.error.status, SIMPLER_EUNAVAILABLE);
		/* No child is left. */
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
		(void)tear_down((void **)&fixture);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_callable_that_takes_too_long_to_load_fails_and_is_not_tried_again, set_up,
			tear_down),
		cmocka_unit_test(a_known_callable_that_three_engines_died_of_is_dropped),
		cmocka_unit_test(
			a_module_that_does_not_pass_its_trial_is_refused_and_the_engine_goes_on),
		cmocka_unit_test_setup_teardown(
			a_module_is_tried_once_whatever_its_callables_and_engines, set_up,
			tear_down),
		cmocka_unit_test(an_engine_that_ends_ends_the_trial_and_the_callable_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
