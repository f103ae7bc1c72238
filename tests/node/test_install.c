/*
 * Callables that an engine does not survive, or does not finish, loading: the front end's side of
 * its engine alone, with a deadline shorter than a daemon's.
 */
#include "front_end.h"

#include <poll.h>
#include <stdlib.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_callable_that_takes_too_long_to_load_fails_and_is_not_tried_again, set_up,
			tear_down),
		cmocka_unit_test(a_known_callable_that_three_engines_died_of_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
