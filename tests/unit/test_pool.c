/* The tensor pool: handles, pins, leases on a clock of our own, limits, and what the bytes are. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "os/memory.h"
#include "random.h"
#include "tensor/pool.h"

#define KIB      UINT64_C(1024)
#define MIB      (KIB * KIB)
#define CAPACITY (16 * MIB)
#define LARGE    (MIB + 5)

static int64_t manual_time;

static int64_t manual_now(void)
{
	return manual_time;
}

static void pass_ms(int64_t milliseconds)
{
	manual_time += milliseconds * CLOCK_MS;
}

struct fixture {
	int fd;
	uint8_t *base;
	uint64_t capacity;
	struct pool *pool;
};

static void open_pool(struct fixture *fixture, uint64_t capacity, uint32_t max_handles)
{
	void *base;

	manual_time = 5 * CLOCK_S;
	fixture->capacity = capacity;
	assert_int_equal(memory_create("test-pool", capacity, &fixture->fd), SIMPLER_OK);
	assert_int_equal(memory_map(fixture->fd, capacity, &base), SIMPLER_OK);
	fixture->base = base;
	assert_int_equal(pool_create(&(struct pool_options){ .memfd = fixture->fd,
	                                                     .base = base,
	                                                     .capacity = capacity,
	                                                     .max_handles = max_handles,
	                                                     .now = manual_now },
	                             &fixture->pool),
	                 SIMPLER_OK);
}

static void close_pool(struct fixture *fixture)
{
	pool_destroy(fixture->pool);
	memory_unmap(fixture->base, fixture->capacity);
	close(fixture->fd);
}

static struct pool_view alloc(struct fixture *fixture, uint64_t nbytes, uint64_t ttl_ms)
{
	struct pool_view view;

	assert_int_equal(pool_alloc(fixture->pool, 0, nbytes, ttl_ms, &view), SIMPLER_OK);
	assert_true(view.handle != 0);
	assert_int_equal(view.nbytes, nbytes);
	return view;
}

static simpler_status lookup(struct fixture *fixture, uint64_t handle)
{
	struct pool_view view;

	return pool_lookup(fixture->pool, handle, &view);
}

static struct pool_stats stats_of(struct fixture *fixture)
{
	struct pool_stats stats;

	pool_stats(fixture->pool, &stats);
	return stats;
}

static void expect_empty(struct fixture *fixture)
{
	struct pool_stats stats = stats_of(fixture);

	assert_int_equal(stats.used, 0);
	assert_int_equal(stats.handles, 0);
	assert_int_equal(stats.largest_free, stats.capacity);
}

/*
 * What happens to one handle, letter by letter:
 *   p pin   u unpin   f free   r refresh for a second   l lookup
 *   t a second and a bit passes, and the pool expires what is over
 * `answers` has for each of p, f, r and l: '.' fine, 's' stale. `gone` says how it ends.
 */
static const struct {
	const char *name, *steps, *answers;
	bool gone;
} lives[] = {
	{ "a live handle is found", "l", ".", false },
	{ "freed is stale for all", "flprf", ".ssss", true },
	{ "a double free is stale", "ff", ".s", true },
	{ "pinned and unpinned lives on", "pul", "..", false },
	{ "freed while pinned goes with the last pin", "ppfuu", "...", true },
	{ "freed while pinned is there until the last unpin", "ppfu", "...", false },
	{ "doomed is stale for all others", "pflprf", "..ssss", false },
	{ "a lease that is over ends it", "tl", "s", true },
	{ "a lease does not end while there are pins", "ptl", "..", false },
	{ "nor however long they last", "pptutttl", "...", false },
	{ "it begins anew with the last unpin", "ptul", "..", false },
	{ "and ends then", "ptutl", ".s", true },
	{ "a refresh keeps it", "rrl", "...", false },
	{ "a refresh does not last for ever", "rtl", ".s", true },
	{ "a doomed handle cannot be refreshed", "pfr", "..s", false },
	{ "a short use keeps it for one lease", "putl", ".s", true },
};

static simpler_status do_step(struct fixture *fixture, char step, uint64_t handle)
{
	struct pool_view view;

	switch (step) {
	case 'p':
		return pool_pin(fixture->pool, 0, handle, POOL_WRITE, &view);
	case 'f':
		return pool_free(fixture->pool, 0, handle);
	case 'r':
		return pool_refresh(fixture->pool, 0, handle, 1000, &view);
	case 'l':
		return pool_lookup(fixture->pool, handle, &view);
	case 'u':
		pool_unpin(fixture->pool, handle);
		return SIMPLER_OK;
	default:
		pass_ms(1001);
		pool_expire(fixture->pool);
		return SIMPLER_OK;
	}
}

static void handles_live_and_end_as_drawn(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * sizeof(lives) / sizeof(lives[0]); i++) {
		size_t n = i / 2, answer = 0;
		struct fixture fixture;
		uint64_t handle;

		open_pool(&fixture, CAPACITY, 4);
		handle = alloc(&fixture, i % 2 ? 100 : LARGE, 1000).handle;
		for (const char *step = lives[n].steps; *step; step++) {
			simpler_status status = do_step(&fixture, *step, handle);

			if (strchr("ut", *step))
				continue;
			if (status !=
			    (lives[n].answers[answer++] == 's' ? SIMPLER_ESTALE : SIMPLER_OK))
				fail_msg("%s: step '%c' gave %d", lives[n].name, *step, status);
		}
		if ((stats_of(&fixture).handles == 0) != lives[n].gone)
			fail_msg("%s: %s", lives[n].name, lives[n].gone ? "still there" : "gone");
		if (lives[n].gone)
			expect_empty(&fixture);
		close_pool(&fixture);
	}
}

static void what_never_was_is_not_found(void **state)
{
	struct fixture fixture;
	struct pool_view view;
	uint64_t handle;

	(void)state;
	open_pool(&fixture, CAPACITY, 4);
	assert_int_equal(lookup(&fixture, 0), SIMPLER_ENOTFOUND);
	assert_int_equal(lookup(&fixture, UINT64_C(1) << 32), SIMPLER_ENOTFOUND);
	handle = alloc(&fixture, 64, 0).handle;
	assert_int_equal(lookup(&fixture, handle + 1), SIMPLER_ENOTFOUND);
	assert_int_equal(lookup(&fixture, handle + 1000), SIMPLER_ENOTFOUND);
	assert_int_equal(lookup(&fixture, handle | UINT32_MAX), SIMPLER_ENOTFOUND);
	assert_int_equal(lookup(&fixture, handle & UINT32_MAX), SIMPLER_ENOTFOUND);
	assert_int_equal(pool_free(fixture.pool, 0, handle + (UINT64_C(1) << 32)),
	                 SIMPLER_ENOTFOUND);
	assert_int_equal(pool_pin(fixture.pool, 0, UINT64_MAX, POOL_WRITE, &view),
	                 SIMPLER_ENOTFOUND);
	assert_int_equal(pool_refresh(fixture.pool, 0, UINT64_MAX, 0, &view), SIMPLER_ENOTFOUND);
	assert_int_equal(pool_free(fixture.pool, 0, handle), SIMPLER_OK);
	assert_int_equal(lookup(&fixture, handle), SIMPLER_ESTALE);
	assert_int_equal(lookup(&fixture, handle + (UINT64_C(1) << 32)), SIMPLER_ENOTFOUND);
	close_pool(&fixture);
}

static void a_stale_handle_never_names_new_storage(void **state)
{
	struct fixture fixture;
	struct pool_view first, second;

	(void)state;
	open_pool(&fixture, CAPACITY, 1);
	first = alloc(&fixture, 64, 0);
	assert_int_equal(pool_free(fixture.pool, 0, first.handle), SIMPLER_OK);
	second = alloc(&fixture, 64, 0);
	assert_int_equal(second.offset, first.offset);
	assert_true(second.handle != first.handle);
	assert_int_equal(lookup(&fixture, first.handle), SIMPLER_ESTALE);
	assert_int_equal(lookup(&fixture, second.handle), SIMPLER_OK);
	close_pool(&fixture);
}

static void generations_begin_where_the_owner_says(void **state)
{
	struct fixture fixture;
	struct pool_options options;
	struct pool_view view;

	(void)state;
	open_pool(&fixture, CAPACITY, 1);
	pool_destroy(fixture.pool);
	options = (struct pool_options){ .memfd = fixture.fd,
		                         .base = fixture.base,
		                         .capacity = CAPACITY,
		                         .max_handles = 1,
		                         .first_generation = UINT32_MAX,
		                         .now = manual_now };
	assert_int_equal(pool_create(&options, &fixture.pool), SIMPLER_OK);
	view = alloc(&fixture, 64, 0);
	assert_int_equal(view.handle >> 32, UINT32_MAX);
	assert_int_equal(lookup(&fixture, UINT64_C(1) << 32), SIMPLER_ENOTFOUND);
	assert_int_equal(pool_free(fixture.pool, 0, view.handle), SIMPLER_OK);
	assert_int_equal(alloc(&fixture, 64, 0).handle >> 32, 1); /* never 0 */
	close_pool(&fixture);
}

static void scratch_goes_with_its_pin(void **state)
{
	struct fixture fixture;
	struct pool_view view;

	(void)state;
	open_pool(&fixture, CAPACITY, 4);
	assert_int_equal(pool_alloc_scratch(fixture.pool, 300, &view), SIMPLER_OK);
	assert_int_equal(view.lease_deadline, CLOCK_NEVER);
	assert_int_equal(lookup(&fixture, view.handle), SIMPLER_ESTALE);
	assert_int_equal(pool_free(fixture.pool, 0, view.handle), SIMPLER_ESTALE);
	pass_ms(POOL_MAX_TTL_MS + 1);
	assert_int_equal(pool_expire(fixture.pool), CLOCK_NEVER);
	assert_int_equal(stats_of(&fixture).handles, 1);
	pool_unpin(fixture.pool, view.handle);
	expect_empty(&fixture);
	close_pool(&fixture);
}

static const struct {
	const char *name;
	uint64_t asked_ms, lasts_ms;
} ttls[] = {
	{ "none asked for", 0, POOL_DEFAULT_TTL_MS },
	{ "the shortest", 1, 1 },
	{ "the longest", POOL_MAX_TTL_MS, POOL_MAX_TTL_MS },
	{ "too long", POOL_MAX_TTL_MS + 1, POOL_MAX_TTL_MS },
	{ "absurd", UINT64_MAX, POOL_MAX_TTL_MS },
};

static void leases_last_as_long_as_asked_for(void **state)
{
	struct fixture fixture;

	(void)state;
	open_pool(&fixture, CAPACITY, 4);
	for (size_t i = 0; i < sizeof(ttls) / sizeof(ttls[0]); i++) {
		int64_t end = manual_time + (int64_t)ttls[i].lasts_ms * CLOCK_MS;
		struct pool_view view = alloc(&fixture, 64, ttls[i].asked_ms);

		if (view.lease_deadline != end)
			fail_msg("%s: ends at %lld", ttls[i].name, (long long)view.lease_deadline);
		assert_int_equal(pool_expire(fixture.pool), end);
		manual_time = end - 1;
		assert_int_equal(pool_expire(fixture.pool), end);
		assert_int_equal(pool_refresh(fixture.pool, 0, view.handle, 7, &view), SIMPLER_OK);
		assert_int_equal(view.lease_deadline, end - 1 + 7 * CLOCK_MS);
		manual_time = view.lease_deadline;
		assert_int_equal(pool_expire(fixture.pool), CLOCK_NEVER);
		assert_int_equal(lookup(&fixture, view.handle), SIMPLER_ESTALE);
	}
	expect_empty(&fixture);
	close_pool(&fixture);
}

/* Many leases, some refreshed, some freed: each pass takes exactly those that are over. */
static void leases_end_in_the_order_of_their_deadlines(void **state)
{
	enum { COUNT = 1000 };
	static struct pool_view views[COUNT];
	static bool freed[COUNT];
	struct fixture fixture;

	(void)state;
	random_begin("leases", COUNT);
	open_pool(&fixture, CAPACITY, COUNT);
	for (int i = 0; i < COUNT; i++)
		views[i] = alloc(&fixture, 64, 1 + random_below(10000));
	for (int i = 0; i < COUNT; i++) {
		freed[i] = random_below(4) == 0;
		if (freed[i])
			assert_int_equal(pool_free(fixture.pool, 0, views[i].handle), SIMPLER_OK);
		else if (random_below(2))
			assert_int_equal(pool_refresh(fixture.pool, 0, views[i].handle,
			                              1 + random_below(10000), &views[i]),
			                 SIMPLER_OK);
	}
	while (stats_of(&fixture).handles > 0) {
		int64_t next = CLOCK_NEVER;

		pass_ms(random_below(100));
		for (int i = 0; i < COUNT; i++) {
			if (!freed[i] && views[i].lease_deadline > manual_time &&
			    views[i].lease_deadline < next)
				next = views[i].lease_deadline;
		}
		assert_int_equal(pool_expire(fixture.pool), next);
		for (int i = 0; i < COUNT; i++) {
			bool live = !freed[i] && views[i].lease_deadline > manual_time;

			assert_int_equal(lookup(&fixture, views[i].handle),
			                 live ? SIMPLER_OK : SIMPLER_ESTALE);
		}
	}
	expect_empty(&fixture);
	close_pool(&fixture);
}

static void exhaustion_names_the_numbers(void **state)
{
	struct fixture fixture;
	struct pool_view view, none;

	(void)state;
	open_pool(&fixture, CAPACITY, 2);
	view = alloc(&fixture, 10 * MIB, 0);
	assert_int_equal(pool_alloc(fixture.pool, 0, 7 * MIB, 0, &none), SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), "asked for 7340032 "));
	assert_non_null(strstr(simpler_last_error(), "10485760 of its 16777216 bytes are used"));
	assert_non_null(strstr(simpler_last_error(), "largest gap is 6291456"));
	assert_int_equal(stats_of(&fixture).handles, 1);
	alloc(&fixture, 6 * MIB, 0);
	assert_int_equal(pool_alloc_scratch(fixture.pool, 0, &none), SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), "all 2 tensor handles"));
	assert_int_equal(pool_free(fixture.pool, 0, view.handle), SIMPLER_OK);
	alloc(&fixture, 10 * MIB, 0);
	close_pool(&fixture);
}

static void bad_options_are_refused(void **state)
{
	static const struct pool_options bad[] = {
		{ .capacity = 4097, .max_handles = 1 },
		{ .capacity = 0, .max_handles = 1 },
		{ .capacity = 4096, .max_handles = 0 },
		{ .capacity = 4096, .max_handles = UINT32_MAX },
	};
	struct pool *pool;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct pool_options options = bad[i];

		options.base = &pool;
		options.now = manual_now;
		assert_int_equal(pool_create(&options, &pool), SIMPLER_EINVAL);
	}
	pool_destroy(NULL);
}

static void no_bytes_take_no_room(void **state)
{
	struct fixture fixture;
	struct pool_view view;

	(void)state;
	open_pool(&fixture, 64 * KIB, 4);
	view = alloc(&fixture, 0, 0);
	assert_int_equal(stats_of(&fixture).used, 0);
	assert_int_equal(pool_pin(fixture.pool, 0, view.handle, POOL_WRITE, &view), SIMPLER_OK);
	pool_unpin(fixture.pool, view.handle);
	alloc(&fixture, 64 * KIB, 0); /* all there is */
	assert_int_equal(pool_free(fixture.pool, 0, view.handle), SIMPLER_OK);
	assert_int_equal(lookup(&fixture, view.handle), SIMPLER_ESTALE);
	close_pool(&fixture);
}

static bool all_are(const uint8_t *bytes, uint64_t size, uint8_t value)
{
	for (uint64_t i = 0; i < size; i++) {
		if (bytes[i] != value)
			return false;
	}
	return true;
}

static uint64_t backed_bytes(const struct fixture *fixture)
{
	struct stat about;

	assert_int_equal(fstat(fixture->fd, &about), 0);
	return (uint64_t)about.st_blocks * 512;
}

static void storage_is_aligned_zero_and_committed_even_when_reused(void **state)
{
	static const uint64_t sizes[] = { 1, 63, 64, 4096, 100000, 262144, LARGE, 3 * MIB };
	struct fixture fixture;

	(void)state;
	open_pool(&fixture, CAPACITY, 16);
	for (int round = 0; round < 3; round++) {
		struct pool_view views[8];

		for (size_t i = 0; i < 8; i++) {
			/* Another order in each round, so that blocks fall on other pages. */
			views[i] = alloc(&fixture, sizes[(i * 3 + (size_t)round) % 8], 0);
			assert_int_equal(views[i].offset % POOL_ALIGNMENT, 0);
			assert_true(all_are(fixture.base + views[i].offset, views[i].nbytes, 0));
			memset(fixture.base + views[i].offset, 0xa5, (size_t)views[i].nbytes);
		}
		assert_int_equal(backed_bytes(&fixture), stats_of(&fixture).committed);
		for (size_t i = 0; i < 8; i++) {
			assert_true(all_are(fixture.base + views[i].offset, views[i].nbytes, 0xa5));
			assert_int_equal(pool_free(fixture.pool, 0, views[i].handle), SIMPLER_OK);
		}
		expect_empty(&fixture);
	}
	close_pool(&fixture);
}

static void pages_are_committed_only_for_what_is_allocated(void **state)
{
	struct fixture fixture;

	(void)state;
	open_pool(&fixture, CAPACITY, 4);
	assert_int_equal(backed_bytes(&fixture), 0);
	alloc(&fixture, 100, 0);
	alloc(&fixture, 100, 0);
	assert_int_equal(backed_bytes(&fixture), 4096);
	alloc(&fixture, MIB, 0);
	assert_int_equal(backed_bytes(&fixture), MIB + 4096);
	close_pool(&fixture);
}

static void freed_pages_are_kept_up_to_the_limit(void **state)
{
	enum { COUNT = 512 };
	const uint64_t limit = 64 * MIB;
	struct fixture fixture;
	struct pool_view large, small[COUNT];

	(void)state;
	open_pool(&fixture, 128 * MIB, 1024);
	large = alloc(&fixture, 50 * MIB, 0);
	assert_int_equal(pool_free(fixture.pool, 0, large.handle), SIMPLER_OK);
	assert_int_equal(backed_bytes(&fixture), 50 * MIB);
	large = alloc(&fixture, 90 * MIB, 0);
	assert_int_equal(backed_bytes(&fixture), 90 * MIB);
	assert_true(all_are(fixture.base + large.offset, large.nbytes, 0));
	assert_int_equal(pool_free(fixture.pool, 0, large.handle), SIMPLER_OK);
	assert_int_equal(backed_bytes(&fixture), limit);
	/* The same with blocks that share pages: a page goes only when nobody is left on it. */
	random_begin("pages", COUNT);
	for (uint32_t i = 0; i < COUNT; i++) {
		small[i] = alloc(&fixture, 200 * KIB + 64, 0);
		memset(fixture.base + small[i].offset, 0xa5, (size_t)small[i].nbytes);
	}
	assert_true(backed_bytes(&fixture) >= 100 * MIB);
	for (uint32_t left = COUNT; left > 0; left--) {
		uint32_t i = random_below(left);

		assert_true(all_are(fixture.base + small[i].offset, small[i].nbytes, 0xa5));
		assert_int_equal(pool_free(fixture.pool, 0, small[i].handle), SIMPLER_OK);
		small[i] = small[left - 1];
	}
	expect_empty(&fixture);
	assert_int_equal(backed_bytes(&fixture), limit);
	assert_int_equal(stats_of(&fixture).committed, limit);
	close_pool(&fixture);
}

static void memory_that_cannot_be_committed_is_refused(void **state)
{
	struct pool_options options = { .capacity = CAPACITY, .max_handles = 4, .now = manual_now };
	static const uint64_t sizes[] = { 100, LARGE };
	struct fixture fixture;
	struct pool_view view;

	(void)state;
	open_pool(&fixture, CAPACITY, 4);
	pool_destroy(fixture.pool);
	options.memfd = -1;
	options.base = fixture.base;
	assert_int_equal(pool_create(&options, &fixture.pool), SIMPLER_OK);
	for (size_t i = 0; i < 2; i++) {
		assert_true(pool_alloc(fixture.pool, 0, sizes[i], 0, &view) != SIMPLER_OK);
		expect_empty(&fixture);
		assert_int_equal(stats_of(&fixture).committed, 0);
	}
	close_pool(&fixture);
}

/* Several threads, each checking that what it holds is zero at first and its own after that. */
struct user {
	struct fixture *fixture;
	uint64_t seed, operations;
	uint8_t value;
	bool failed;
	pthread_t thread;
};

static bool use_once(struct user *user, uint64_t nbytes, bool scratch)
{
	struct pool *pool = user->fixture->pool;
	struct pool_view view, pinned;
	uint8_t *bytes;
	bool fine;

	if ((scratch ? pool_alloc_scratch(pool, nbytes, &view)
	             : pool_alloc(pool, 0, nbytes, 1000, &view)) != SIMPLER_OK)
		return true; /* no room just now */
	if (!scratch && pool_pin(pool, 0, view.handle, POOL_WRITE, &pinned) != SIMPLER_OK)
		return false;
	bytes = user->fixture->base + view.offset;
	fine = all_are(bytes, nbytes, 0);
	memset(bytes, user->value, (size_t)nbytes);
	if (!scratch)
		fine = fine && pool_free(pool, 0, view.handle) == SIMPLER_OK;
	fine = fine && all_are(bytes, nbytes, user->value);
	pool_unpin(pool, view.handle);
	return fine;
}

static void *use_pool(void *argument)
{
	struct user *user = argument;

	for (uint64_t i = 0; i < user->operations && !user->failed; i++) {
		uint64_t number = random_from(&user->seed);
		uint64_t limit = number % 16 == 0 ? 2 * MIB : 20000;

		user->failed = !use_once(user, random_from(&user->seed) % limit, number & 16);
		if (number % 64 == 0)
			pool_expire(user->fixture->pool);
	}
	return NULL;
}

static void threads_share_the_pool(void **state)
{
	struct fixture fixture;
	struct user users[4];
	uint64_t operations = random_begin("pool threads", 20000);

	(void)state;
	open_pool(&fixture, 4 * MIB, 3); /* too little for all of them at once */
	for (int i = 0; i < 4; i++) {
		users[i] = (struct user){ .fixture = &fixture,
			                  .seed = random_from(&random_state),
			                  .operations = operations / 4,
			                  .value = (uint8_t)(i + 1) };
		assert_int_equal(pthread_create(&users[i].thread, NULL, use_pool, &users[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(users[i].thread, NULL), 0);
		assert_false(users[i].failed);
	}
	expect_empty(&fixture);
	close_pool(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handles_live_and_end_as_drawn),
		cmocka_unit_test(what_never_was_is_not_found),
		cmocka_unit_test(a_stale_handle_never_names_new_storage),
		cmocka_unit_test(generations_begin_where_the_owner_says),
		cmocka_unit_test(scratch_goes_with_its_pin),
		cmocka_unit_test(leases_last_as_long_as_asked_for),
		cmocka_unit_test(leases_end_in_the_order_of_their_deadlines),
		cmocka_unit_test(exhaustion_names_the_numbers),
		cmocka_unit_test(bad_options_are_refused),
		cmocka_unit_test(no_bytes_take_no_room),
		cmocka_unit_test(storage_is_aligned_zero_and_committed_even_when_reused),
		cmocka_unit_test(pages_are_committed_only_for_what_is_allocated),
		cmocka_unit_test(freed_pages_are_kept_up_to_the_limit),
		cmocka_unit_test(memory_that_cannot_be_committed_is_refused),
		cmocka_unit_test(threads_share_the_pool),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
