/* The states of a callable between its owners: who prepares, commits, aborts and unregisters what
 * becomes of it, tasks in flight and the time that passes included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "catalog/catalog.h"
#include "catalog/module_read.h"
#include "simpler/version.h"
#include "test_modules.h"

#define ID      77
#define A       UINT64_C(0xa)
#define B       UINT64_C(0xb)
#define NOBODY  UINT64_C(0) /* the session of clients that name none */
#define UNKNOWN (-1)        /* a state: it is not there */

static uint8_t *module;
static size_t module_size;
static struct policy *anybody;
static int64_t now;

static int64_t manual_clock(void)
{
	return now;
}

static int set_up(void **state)
{
	(void)state;
	if (policy_create(POLICY_ANY, NULL, &anybody))
		return 1;
	return module_read(TEST_MODULES_DIR "/twice.so", &module, &module_size) ? 1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	policy_destroy(anybody);
	free(module);
	return 0;
}

/* One catalog, and one callable in it: sub task "twice" with a number as captured state. */
struct rig {
	struct catalog *catalog;
	uint8_t payload[1 << 20];
	struct catalog_offering offering;
	uint64_t key, version;
	size_t told;
	struct catalog_waiter waiters[4];
};

static struct rig *waiting_rig;

static void count(struct catalog_waiter *waiter)
{
	assert_true(waiter->key == 0);
	waiting_rig->told++;
}

static void describe(struct rig *rig, uint32_t number)
{
	struct payload payload = {
		.kind = SIMPLER_KIND_SUB,
		.abi = SIMPLER_CALLABLE_ABI,
		.origin = { .source = ORIGIN_MODULE },
		.name = "twice",
		.state = { &number, sizeof(number) },
		.module_bytes = { module, module_size },
	};

	assert_int_equal(digest_compute(module, module_size, &payload.origin.module), SIMPLER_OK);
	assert_true(payload_size(&payload) <= sizeof(rig->payload));
	payload_encode(&payload, rig->payload);
	rig->offering =
		(struct catalog_offering){ .callable_id = ID,
		                           .payload = { rig->payload, payload_size(&payload) } };
}

static struct rig *rig_create(size_t owners)
{
	const struct catalog_options options = {
		.callables = 8,
		.owners = owners,
		.modules = { .modules = 1, .bytes = module_size },
		.now = manual_clock,
	};
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	rig->catalog = catalog_create(&options, anybody);
	assert_non_null(rig->catalog);
	describe(rig, 5);
	now = CLOCK_S;
	waiting_rig = rig;
	return rig;
}

static void rig_destroy(struct rig *rig)
{
	catalog_destroy(rig->catalog);
	free(rig);
}

static simpler_status offer(struct rig *rig, uint64_t session, bool commit)
{
	struct catalog_entry entry;
	simpler_status status;
	bool fresh;

	rig->offering.session = session;
	rig->offering.commit = commit;
	status = catalog_offer(rig->catalog, &rig->offering, &entry, &fresh);
	if (!status) {
		rig->key = entry.key;
		rig->version = entry.version;
	}
	return status;
}

static simpler_status unregister(struct rig *rig, uint64_t session, size_t waiter, bool *waits)
{
	rig->waiters[waiter].done = count;
	return catalog_unregister(rig->catalog, session, ID, rig->version, &rig->waiters[waiter],
	                          waits);
}

static int state_of(struct rig *rig)
{
	struct catalog_entry entry;

	return catalog_get(rig->catalog, rig->key, &entry) ? (int)entry.state : UNKNOWN;
}

/* --- step by step --- */

enum act {
	END,
	LOADED,  /* the engine answers: it has it */
	REFUSED, /* or that it could not */
	PIN,     /* a dispatch finds it */
	UNPIN,
	A_MOMENT,
	A_MINUTE,
	A_PREPARES,
	A_PUSHES,
	A_COMMITS,
	A_ABORTS,
	A_UNREGISTERS,
	A_LEAVES,
	B_PREPARES,
	B_PUSHES,
	B_COMMITS,
	B_ABORTS,
	B_UNREGISTERS,
	B_LEAVES,
};

struct step {
	enum act act;
	int state; /* afterwards */
	simpler_status status;
};

#define PENDING   CATALOG_PENDING
#define PREPARED  CATALOG_PREPARED
#define VISIBLE   CATALOG_VISIBLE
#define WITHDRAWN CATALOG_WITHDRAWN

static const struct {
	const char *name;
	struct step steps[12];
} cases[] = {
	{ "prepared, then committed",
	  { { A_PREPARES, PENDING, 0 },
	    { PIN, PENDING, SIMPLER_ESTATE },
	    { LOADED, PREPARED, 0 },
	    { PIN, PREPARED, SIMPLER_ESTATE },
	    { A_COMMITS, VISIBLE, 0 },
	    { PIN, VISIBLE, 0 },
	    { UNPIN, VISIBLE, 0 } } },
	{ "pushed: prepared and committed in one",
	  { { A_PUSHES, PENDING, 0 }, { LOADED, VISIBLE, 0 }, { A_COMMITS, VISIBLE, 0 } } },
	{ "prepared, then aborted",
	  { { A_PREPARES, PENDING, 0 },
	    { LOADED, PREPARED, 0 },
	    { A_ABORTS, UNKNOWN, 0 },
	    { A_ABORTS, UNKNOWN, 0 },
	    { A_COMMITS, UNKNOWN, SIMPLER_ESTATE },
	    { PIN, UNKNOWN, SIMPLER_ESTATE } } },
	{ "aborted while it is loaded",
	  { { A_PREPARES, PENDING, 0 },
	    { A_COMMITS, PENDING, SIMPLER_ESTATE },
	    { A_ABORTS, PENDING, 0 },
	    { LOADED, UNKNOWN, 0 } } },
	{ "wanted again before it was loaded for nobody",
	  { { A_PREPARES, PENDING, 0 },
	    { A_ABORTS, PENDING, 0 },
	    { B_PUSHES, PENDING, 0 },
	    { LOADED, VISIBLE, 0 } } },
	{ "what cannot be loaded is nobody's",
	  { { A_PREPARES, PENDING, 0 },
	    { B_PUSHES, PENDING, 0 },
	    { REFUSED, UNKNOWN, 0 },
	    { A_COMMITS, UNKNOWN, SIMPLER_ENOTFOUND },
	    { B_UNREGISTERS, UNKNOWN, SIMPLER_ENOTFOUND },
	    { PIN, UNKNOWN, SIMPLER_ENOTFOUND } } },
	{ "never heard of",
	  { { A_COMMITS, UNKNOWN, SIMPLER_ENOTFOUND },
	    { A_ABORTS, UNKNOWN, SIMPLER_ENOTFOUND },
	    { A_UNREGISTERS, UNKNOWN, SIMPLER_ENOTFOUND } } },
	{ "one prepares and another commits",
	  { { A_PREPARES, PENDING, 0 },
	    { LOADED, PREPARED, 0 },
	    { B_COMMITS, PREPARED, SIMPLER_ESTATE },
	    { B_ABORTS, PREPARED, SIMPLER_ESTATE },
	    { B_UNREGISTERS, PREPARED, SIMPLER_ESTATE },
	    { B_PREPARES, PREPARED, 0 },
	    { B_COMMITS, VISIBLE, 0 },
	    { A_ABORTS, VISIBLE, 0 },
	    { B_UNREGISTERS, UNKNOWN, 0 } } },
	{ "visible as long as anybody owns it, committed or not",
	  { { A_PUSHES, PENDING, 0 },
	    { LOADED, VISIBLE, 0 },
	    { B_PREPARES, VISIBLE, 0 },
	    { A_UNREGISTERS, VISIBLE, 0 },
	    { A_UNREGISTERS, VISIBLE, 0 },
	    { B_COMMITS, VISIBLE, 0 },
	    { B_UNREGISTERS, UNKNOWN, 0 },
	    { A_UNREGISTERS, UNKNOWN, 0 } } },
	{ "committed cannot be aborted, and preparing again leaves it so",
	  { { A_PUSHES, PENDING, 0 },
	    { LOADED, VISIBLE, 0 },
	    { A_PREPARES, VISIBLE, 0 },
	    { A_ABORTS, VISIBLE, SIMPLER_ESTATE },
	    { A_MINUTE, VISIBLE, 0 } } },
	{ "unregistered when it is only prepared",
	  { { A_PREPARES, PENDING, 0 }, { LOADED, PREPARED, 0 }, { A_UNREGISTERS, UNKNOWN, 0 } } },
	{ "a session's end is that of all it owns",
	  { { A_PUSHES, PENDING, 0 },
	    { LOADED, VISIBLE, 0 },
	    { B_PREPARES, VISIBLE, 0 },
	    { A_LEAVES, VISIBLE, 0 },
	    { B_LEAVES, UNKNOWN, 0 },
	    { PIN, UNKNOWN, SIMPLER_ESTATE } } },
	{ "neither committed nor aborted within a minute",
	  { { A_PREPARES, PENDING, 0 },
	    { LOADED, PREPARED, 0 },
	    { A_MOMENT, PREPARED, 0 },
	    { B_PREPARES, PREPARED, 0 },
	    { A_MINUTE, PREPARED, 0 },
	    { A_COMMITS, PREPARED, SIMPLER_ESTATE },
	    { A_MOMENT, UNKNOWN, 0 },
	    { B_COMMITS, UNKNOWN, SIMPLER_ESTATE } } },
	{ "the minute begins when it is loaded",
	  { { A_PREPARES, PENDING, 0 },
	    { A_MINUTE, PENDING, 0 },
	    { A_MOMENT, PENDING, 0 },
	    { LOADED, PREPARED, 0 },
	    { A_MOMENT, PREPARED, 0 },
	    { A_COMMITS, VISIBLE, 0 },
	    { A_MINUTE, VISIBLE, 0 } } },
	{ "withdrawn until nothing is in flight",
	  { { A_PUSHES, PENDING, 0 },
	    { LOADED, VISIBLE, 0 },
	    { PIN, VISIBLE, 0 },
	    { PIN, VISIBLE, 0 },
	    { A_LEAVES, WITHDRAWN, 0 },
	    { UNPIN, WITHDRAWN, 0 },
	    { PIN, WITHDRAWN, SIMPLER_ESTATE },
	    { UNPIN, UNKNOWN, 0 } } },
	{ "owned again while it ends",
	  { { A_PUSHES, PENDING, 0 },
	    { LOADED, VISIBLE, 0 },
	    { PIN, VISIBLE, 0 },
	    { A_LEAVES, WITHDRAWN, 0 },
	    { B_PREPARES, PREPARED, 0 },
	    { UNPIN, PREPARED, 0 },
	    { B_COMMITS, VISIBLE, 0 } } },
	{ "pushed again while it ends",
	  { { A_PUSHES, PENDING, 0 },
	    { LOADED, VISIBLE, 0 },
	    { PIN, VISIBLE, 0 },
	    { A_LEAVES, WITHDRAWN, 0 },
	    { A_PUSHES, VISIBLE, 0 },
	    { UNPIN, VISIBLE, 0 } } },
};

static simpler_status find(struct rig *rig)
{
	struct catalog_entry entry;

	return catalog_find(rig->catalog, ID, rig->version, &entry);
}

static void let_pass(struct rig *rig, int64_t seconds)
{
	now += seconds * CLOCK_S;
	(void)catalog_expire(rig->catalog);
}

static simpler_status act_of(struct rig *rig, enum act act, uint64_t session)
{
	bool waits;

	switch (act) {
	case A_PREPARES:
		return offer(rig, session, false);
	case A_PUSHES:
		return offer(rig, session, true);
	case A_COMMITS:
		return catalog_commit(rig->catalog, session, ID, rig->version);
	case A_ABORTS:
		return catalog_abort(rig->catalog, session, ID, rig->version);
	case A_UNREGISTERS:
		return unregister(rig, session, 0, &waits);
	default:
		catalog_leave(rig->catalog, session);
		return SIMPLER_OK;
	}
}

static simpler_status act(struct rig *rig, enum act act)
{
	switch (act) {
	case LOADED:
	case REFUSED:
		catalog_settle(rig->catalog, rig->key, act == LOADED);
		return SIMPLER_OK;
	case PIN:
		return find(rig);
	case UNPIN:
		catalog_unpin(rig->catalog, rig->key);
		return SIMPLER_OK;
	case A_MOMENT:
		let_pass(rig, 20);
		return SIMPLER_OK;
	case A_MINUTE:
		let_pass(rig, 40);
		return SIMPLER_OK;
	default:
		return act < B_PREPARES ? act_of(rig, act, A)
		                        : act_of(rig, act - B_PREPARES + A_PREPARES, B);
	}
}

static void a_callable_goes_from_state_to_state(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rig *rig = rig_create(64);

		for (const struct step *step = cases[i].steps; step->act != END; step++) {
			simpler_status status = act(rig, step->act);

			if (status != step->status || state_of(rig) != step->state)
				fail_msg(
					"%s, step %td: status %d and state %d instead of %d and %d",
					cases[i].name, step - cases[i].steps + 1, (int)status,
					state_of(rig), (int)step->status, step->state);
		}
		rig_destroy(rig);
	}
}

/* --- what is not a state --- */

static void who_waits_is_told_once_when_the_last_task_has_ended(void **state)
{
	struct rig *rig = rig_create(64);
	bool waits;

	(void)state;
	assert_int_equal(offer(rig, NOBODY, true), SIMPLER_OK);
	catalog_settle(rig->catalog, rig->key, true);
	assert_int_equal(find(rig), SIMPLER_OK);
	assert_int_equal(find(rig), SIMPLER_OK);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(unregister(rig, NOBODY, i, &waits), SIMPLER_OK);
		assert_true(waits);
	}
	assert_true(catalog_stop_waiting(rig->catalog, &rig->waiters[1]));
	assert_false(catalog_stop_waiting(rig->catalog, &rig->waiters[1]));
	catalog_unpin(rig->catalog, rig->key);
	assert_int_equal(rig->told, 0);
	catalog_unpin(rig->catalog, rig->key);
	assert_int_equal(rig->told, 2);
	assert_false(catalog_stop_waiting(rig->catalog, &rig->waiters[0]));
	assert_int_equal(unregister(rig, NOBODY, 0, &waits), SIMPLER_OK);
	assert_false(waits);
	assert_int_equal(rig->told, 2);
	rig_destroy(rig);
}

static void who_waits_is_told_when_it_is_owned_again(void **state)
{
	struct rig *rig = rig_create(64);
	bool waits;

	(void)state;
	assert_int_equal(offer(rig, A, true), SIMPLER_OK);
	catalog_settle(rig->catalog, rig->key, true);
	assert_int_equal(find(rig), SIMPLER_OK);
	assert_int_equal(unregister(rig, A, 0, &waits), SIMPLER_OK);
	assert_true(waits);
	assert_int_equal(offer(rig, B, false), SIMPLER_OK);
	assert_int_equal(rig->told, 1);
	assert_int_equal(unregister(rig, A, 1, &waits), SIMPLER_OK);
	assert_false(waits);
	catalog_unpin(rig->catalog, rig->key);
	rig_destroy(rig);
}

static void a_later_registration_is_another_one(void **state)
{
	struct rig *rig = rig_create(64);
	uint64_t first;
	bool waits;

	(void)state;
	assert_int_equal(offer(rig, A, true), SIMPLER_OK);
	catalog_settle(rig->catalog, rig->key, true);
	first = rig->key;
	assert_int_equal(unregister(rig, A, 0, &waits), SIMPLER_OK);
	assert_int_equal(offer(rig, A, true), SIMPLER_OK);
	assert_true(rig->key > first);
	assert_int_equal(state_of(rig), CATALOG_PENDING);
	rig_destroy(rig);
}

static void what_is_gone_is_told_once(void **state)
{
	struct rig *rig = rig_create(64);
	uint64_t key;

	(void)state;
	assert_int_equal(offer(rig, A, true), SIMPLER_OK);
	catalog_settle(rig->catalog, rig->key, true);
	assert_int_equal(find(rig), SIMPLER_OK);
	catalog_leave(rig->catalog, A);
	assert_false(catalog_take_gone(rig->catalog, &key));
	catalog_unpin(rig->catalog, rig->key);
	assert_true(catalog_take_gone(rig->catalog, &key));
	assert_true(key == rig->key);
	assert_false(catalog_take_gone(rig->catalog, &key));
	assert_int_equal(offer(rig, A, true), SIMPLER_OK);
	catalog_settle(rig->catalog, rig->key, true);
	catalog_leave(rig->catalog, A); /* and nobody asks */
	rig_destroy(rig);
}

static void version_0_is_the_newest_that_the_session_owns(void **state)
{
	struct rig *rig = rig_create(64);
	uint64_t versions[3];

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		describe(rig, i);
		assert_int_equal(offer(rig, i == 2 ? B : A, false), SIMPLER_OK);
		catalog_settle(rig->catalog, rig->key, true);
		versions[i] = rig->version;
	}
	assert_int_equal(catalog_commit(rig->catalog, A, ID, 0), SIMPLER_OK);
	for (uint32_t i = 0; i < 3; i++) {
		rig->version = versions[i];
		assert_int_equal(find(rig), i == 1 ? SIMPLER_OK : SIMPLER_ESTATE);
	}
	catalog_unpin(rig->catalog, 2);
	assert_int_equal(catalog_abort(rig->catalog, B, ID, 0), SIMPLER_OK);
	assert_int_equal(catalog_commit(rig->catalog, B, ID, 0), SIMPLER_ESTATE);
	rig_destroy(rig);
}

static void what_is_prepared_does_not_become_the_newest_before_its_commit(void **state)
{
	struct rig *rig = rig_create(64);
	struct catalog_entry entry;
	uint64_t first, second;

	(void)state;
	describe(rig, 1);
	assert_int_equal(offer(rig, A, true), SIMPLER_OK);
	catalog_settle(rig->catalog, rig->key, true);
	first = rig->version;
	describe(rig, 2);
	assert_int_equal(offer(rig, A, true), SIMPLER_OK);
	catalog_settle(rig->catalog, rig->key, true);
	second = rig->version;
	describe(rig, 1);
	for (int committed = 0; committed < 2; committed++) {
		assert_int_equal(offer(rig, B, committed), SIMPLER_OK);
		assert_int_equal(catalog_find(rig->catalog, ID, 0, &entry), SIMPLER_OK);
		assert_true(entry.version == (committed ? first : second));
		catalog_unpin(rig->catalog, entry.key);
	}
	rig_destroy(rig);
}

static void the_clock_is_told_when_the_next_preparation_is_over(void **state)
{
	struct rig *rig = rig_create(64);
	const int64_t minute = CATALOG_PREPARED_MS * CLOCK_MS;
	int64_t first;

	(void)state;
	assert_true(catalog_expire(rig->catalog) == CLOCK_NEVER);
	assert_int_equal(offer(rig, A, false), SIMPLER_OK);
	assert_true(catalog_expire(rig->catalog) == CLOCK_NEVER);
	catalog_settle(rig->catalog, rig->key, true);
	first = now + minute;
	assert_true(catalog_expire(rig->catalog) == first);
	now += CLOCK_S;
	assert_int_equal(offer(rig, B, false), SIMPLER_OK);
	assert_true(catalog_expire(rig->catalog) == first);
	now = first;
	assert_true(catalog_expire(rig->catalog) == first + CLOCK_S);
	assert_int_equal(catalog_commit(rig->catalog, B, ID, 0), SIMPLER_OK);
	assert_true(catalog_expire(rig->catalog) == CLOCK_NEVER);
	rig_destroy(rig);
}

static void owners_are_limited_in_all(void **state)
{
	struct rig *rig = rig_create(2);

	(void)state;
	assert_int_equal(offer(rig, A, false), SIMPLER_OK);
	assert_int_equal(offer(rig, B, true), SIMPLER_OK);
	assert_int_equal(offer(rig, A, true), SIMPLER_OK);
	assert_int_equal(offer(rig, NOBODY, false), SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), "2 owners"));
	describe(rig, 6);
	assert_int_equal(offer(rig, A, false), SIMPLER_ENOSPACE);
	catalog_leave(rig->catalog, B);
	assert_int_equal(offer(rig, A, false), SIMPLER_OK);
	rig_destroy(rig);
}

static void departures_are_remembered_for_as_long_as_there_is_room(void **state)
{
	struct rig *rig = rig_create(64);
	const uint64_t first_id = rig->offering.callable_id;
	bool waits;

	(void)state;
	for (uint32_t i = 0; i <= 1024; i++) {
		rig->offering.callable_id = first_id + i;
		assert_int_equal(offer(rig, A, false), SIMPLER_OK);
		catalog_settle(rig->catalog, rig->key, true);
		assert_int_equal(catalog_unregister(rig->catalog, A, first_id + i, 0,
		                                    &rig->waiters[0], &waits),
		                 SIMPLER_OK);
		assert_int_equal(find(rig), i < 1024 ? SIMPLER_ESTATE : SIMPLER_ENOTFOUND);
	}
	rig_destroy(rig);
}

static void a_digest_that_comes_along_has_to_be_the_callables(void **state)
{
	struct rig *rig = rig_create(64);
	struct catalog_entry entry;
	struct digest digest;
	bool fresh;

	(void)state;
	assert_int_equal(offer(rig, A, true), SIMPLER_OK);
	assert_true(catalog_get(rig->catalog, rig->key, &entry));
	digest = entry.digest;
	rig->offering.digest = (simpler_bytes){ digest.bytes, sizeof(digest.bytes) };
	assert_int_equal(catalog_offer(rig->catalog, &rig->offering, &entry, &fresh), SIMPLER_OK);
	digest.bytes[31] ^= 1;
	assert_int_equal(catalog_offer(rig->catalog, &rig->offering, &entry, &fresh),
	                 SIMPLER_EINVAL);
	rig_destroy(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_callable_goes_from_state_to_state),
		cmocka_unit_test(who_waits_is_told_once_when_the_last_task_has_ended),
		cmocka_unit_test(who_waits_is_told_when_it_is_owned_again),
		cmocka_unit_test(a_later_registration_is_another_one),
		cmocka_unit_test(what_is_gone_is_told_once),
		cmocka_unit_test(version_0_is_the_newest_that_the_session_owns),
		cmocka_unit_test(what_is_prepared_does_not_become_the_newest_before_its_commit),
		cmocka_unit_test(the_clock_is_told_when_the_next_preparation_is_over),
		cmocka_unit_test(owners_are_limited_in_all),
		cmocka_unit_test(departures_are_remembered_for_as_long_as_there_is_room),
		cmocka_unit_test(a_digest_that_comes_along_has_to_be_the_callables),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
