/* Whose handles are whose: sessions, grants and what is imported by them, and segments of sessions
 * under the one limit. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
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

/* Sessions. */
#define NOBODY 0u
#define ANNE   7u
#define BEN    8u

static _Atomic int64_t manual_time;

static int64_t manual_now(void)
{
	return manual_time;
}

static void pass_ms(struct pool *pool, int64_t milliseconds)
{
	manual_time += milliseconds * CLOCK_MS;
	(void)pool_expire(pool);
}

struct fixture {
	int fd;
	void *base;
	uint64_t capacity;
	struct pool *pool;
};

static void open_limited(struct fixture *fixture, uint64_t capacity, uint32_t session_handles,
                         uint32_t session_grants)
{
	manual_time = 5 * CLOCK_S;
	fixture->capacity = capacity;
	assert_int_equal(memory_create("test-pool", capacity, &fixture->fd), SIMPLER_OK);
	assert_int_equal(memory_map(fixture->fd, capacity, &fixture->base), SIMPLER_OK);
	assert_int_equal(pool_create(&(struct pool_options){ .memfd = fixture->fd,
	                                                     .base = fixture->base,
	                                                     .capacity = capacity,
	                                                     .max_handles = 4096,
	                                                     .max_session_handles = session_handles,
	                                                     .max_session_grants = session_grants,
	                                                     .now = manual_now },
	                             &fixture->pool),
	                 SIMPLER_OK);
}

static void open_pool(struct fixture *fixture, uint64_t capacity)
{
	open_limited(fixture, capacity, 0, 0);
}

static void close_pool(struct fixture *fixture)
{
	pool_destroy(fixture->pool);
	memory_unmap(fixture->base, fixture->capacity);
	close(fixture->fd);
}

static struct pool_view alloc(struct fixture *fixture, uint64_t session, uint64_t nbytes,
                              uint64_t ttl_ms)
{
	struct pool_view view;

	assert_int_equal(pool_alloc(fixture->pool, session, nbytes, ttl_ms, &view), SIMPLER_OK);
	return view;
}

static struct pool_stats stats_of(struct fixture *fixture)
{
	struct pool_stats stats;

	pool_stats(fixture->pool, &stats);
	return stats;
}

static simpler_status lookup(struct fixture *fixture, uint64_t handle)
{
	struct pool_view view;

	return pool_lookup(fixture->pool, handle, &view);
}

static uint64_t backed_bytes(int fd)
{
	struct stat about;

	assert_int_equal(fstat(fd, &about), 0);
	return (uint64_t)about.st_blocks * 512;
}

/* --- owners --- */

static void another_session_is_told_the_same_as_of_what_never_was(void **state)
{
	static const uint64_t others[] = { NOBODY, BEN, ANNE + (UINT64_C(1) << 32) };
	char never[256], foreign[256];
	struct pool_grant grant;
	struct fixture fixture;
	struct pool_view view, unused;

	(void)state;
	open_pool(&fixture, CAPACITY);
	view = alloc(&fixture, ANNE, 100, 0);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		uint64_t session = others[i], handle = view.handle;
		struct pool *pool = fixture.pool;

		assert_int_equal(pool_pin(pool, session, handle, POOL_READ, &unused),
		                 SIMPLER_ENOTFOUND);
		(void)snprintf(foreign, sizeof(foreign), "%s", strchr(simpler_last_error(), ' '));
		assert_int_equal(pool_free(pool, session, handle), SIMPLER_ENOTFOUND);
		assert_int_equal(pool_refresh(pool, session, handle, 0, &unused),
		                 SIMPLER_ENOTFOUND);
		assert_int_equal(pool_export(pool, session, handle, false, 0, &grant),
		                 SIMPLER_ENOTFOUND);
		assert_int_equal(pool_free(pool, session, handle + 1), SIMPLER_ENOTFOUND);
		(void)snprintf(never, sizeof(never), "%s", strchr(simpler_last_error(), ' '));
		assert_string_equal(strstr(never, "is none"), strstr(foreign, "is none"));
	}
	assert_int_equal(pool_free(fixture.pool, ANNE, view.handle), SIMPLER_OK);
	assert_int_equal(pool_free(fixture.pool, ANNE, view.handle), SIMPLER_ESTALE);
	close_pool(&fixture);
}

/* --- grants --- */

static struct pool_grant export(struct fixture *fixture, uint64_t session, uint64_t handle,
                                bool write, uint64_t ttl_ms)
{
	struct pool_grant grant;

	assert_int_equal(pool_export(fixture->pool, session, handle, write, ttl_ms, &grant),
	                 SIMPLER_OK);
	return grant;
}

static simpler_status import(struct fixture *fixture, uint64_t session,
                             const struct pool_grant *grant, struct pool_view *out)
{
	return pool_import(fixture->pool, session, grant->handle, grant->token, 0, out);
}

static void what_is_imported_is_the_same_bytes_under_another_handle(void **state)
{
	struct pool_view view, read, write, unused;
	struct pool_grant reader, writer;
	struct fixture fixture;

	(void)state;
	open_pool(&fixture, CAPACITY);
	view = alloc(&fixture, ANNE, 100, 0);
	reader = export(&fixture, ANNE, view.handle, false, 0);
	writer = export(&fixture, ANNE, view.handle, true, 0);
	assert_memory_not_equal(reader.token, writer.token, POOL_TOKEN_BYTES);
	assert_int_equal(import(&fixture, BEN, &reader, &read), SIMPLER_OK);
	assert_int_equal(import(&fixture, BEN, &writer, &write), SIMPLER_OK);
	assert_true(read.handle != view.handle && write.handle != read.handle);
	assert_ptr_equal(read.bytes, view.bytes);
	assert_int_equal(write.offset, view.offset);
	assert_int_equal(stats_of(&fixture).used, 128); /* once */
	assert_int_equal(pool_pin(fixture.pool, BEN, read.handle, POOL_READ, &unused), SIMPLER_OK);
	assert_int_equal(pool_pin(fixture.pool, BEN, read.handle, POOL_WRITE, &unused),
	                 SIMPLER_EPERM);
	assert_int_equal(pool_pin(fixture.pool, BEN, write.handle, POOL_WRITE, &unused),
	                 SIMPLER_OK);
	/* What may be read may be handed on for reading only. */
	assert_int_equal(pool_export(fixture.pool, BEN, read.handle, true, 0, &writer),
	                 SIMPLER_EPERM);
	(void)export(&fixture, BEN, read.handle, false, 0);
	/* Nor does the owner become another. */
	assert_int_equal(pool_free(fixture.pool, ANNE, read.handle), SIMPLER_ENOTFOUND);
	close_pool(&fixture);
}

/*
 * What holds storage, letter by letter: ANNE's handle, a grant of it, BEN's import, a grant of that
 * (H), and a reader's pin by the first token. Capital: it begins. Small: it ends. The storage is
 * there until all have ended.
 */
static const char *const orders[] = { "AGBPpbga", "AGBPabgp", "AGBPgpab", "AGPagp",
	                              "AGag",     "AGga",     "AGBgab",   "AGBagHbh" };

struct holders {
	struct pool_view anne, ben, reader;
	struct pool_grant grant, second;
};

static simpler_status begin_or_end(struct fixture *fixture, char step, struct holders *holders)
{
	struct pool_grant *grant = &holders->grant, *second = &holders->second;
	struct pool *pool = fixture->pool;

	switch (step) {
	case 'A':
		return pool_alloc(pool, ANNE, MIB, 0, &holders->anne);
	case 'a':
		return pool_free(pool, ANNE, holders->anne.handle);
	case 'G':
		return pool_export(pool, ANNE, holders->anne.handle, false, 0, grant);
	case 'g':
		return pool_release_grant(pool, grant->handle, grant->token);
	case 'B':
		return import(fixture, BEN, grant, &holders->ben);
	case 'b':
		return pool_free(pool, BEN, holders->ben.handle);
	case 'H':
		return pool_export(pool, BEN, holders->ben.handle, false, 0, second);
	case 'h':
		return pool_release_grant(pool, second->handle, second->token);
	case 'P':
		return pool_pin_granted(pool, grant->handle, grant->token, &holders->reader);
	default:
		pool_unpin(pool, holders->reader.handle);
		return SIMPLER_OK;
	}
}

static void storage_goes_with_the_last_who_holds_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		struct holders holders = { 0 };
		struct fixture fixture;
		uint32_t count = 0;

		open_pool(&fixture, CAPACITY);
		for (const char *step = orders[i]; *step; step++) {
			simpler_status status = begin_or_end(&fixture, *step, &holders);

			count += *step < 'a' ? 1u : UINT32_MAX;
			if (status != SIMPLER_OK)
				fail_msg("%s: step '%c' gave %d", orders[i], *step, status);
			if (stats_of(&fixture).used != (count > 0 ? MIB : 0))
				fail_msg("%s: after '%c' %u hold it, and %llu bytes are used",
				         orders[i], *step, count,
				         (unsigned long long)stats_of(&fixture).used);
		}
		assert_int_equal(count, 0);
		close_pool(&fixture);
	}
}

static void a_grant_is_for_who_has_its_token_and_ends(void **state)
{
	struct pool_grant grant, wrong;
	struct fixture fixture;
	struct pool_view view, out;

	(void)state;
	open_pool(&fixture, CAPACITY);
	view = alloc(&fixture, ANNE, 100, 5000);
	grant = wrong = export(&fixture, ANNE, view.handle, false, 1000);
	for (size_t i = 0; i < POOL_TOKEN_BYTES; i++) {
		wrong.token[i] ^= 1;
		assert_int_equal(import(&fixture, BEN, &wrong, &out), SIMPLER_EPERM);
		assert_int_equal(pool_pin_granted(fixture.pool, view.handle, wrong.token, &out),
		                 SIMPLER_EPERM);
		assert_int_equal(pool_release_grant(fixture.pool, view.handle, wrong.token),
		                 SIMPLER_EPERM);
		wrong.token[i] ^= 1;
	}
	wrong.handle++;
	assert_int_equal(import(&fixture, BEN, &wrong, &out), SIMPLER_EPERM);
	assert_int_equal(grant.lease_deadline, manual_time + 1000 * CLOCK_MS);
	assert_int_equal(pool_expire(fixture.pool), grant.lease_deadline);
	pass_ms(fixture.pool, 999);
	assert_int_equal(import(&fixture, BEN, &grant, &out), SIMPLER_OK);
	pass_ms(fixture.pool, 1);
	assert_int_equal(stats_of(&fixture).grants, 0);
	assert_int_equal(import(&fixture, BEN, &grant, &out), SIMPLER_EPERM);
	close_pool(&fixture);
}

static void the_number_of_grants_is_limited(void **state)
{
	struct pool_grant grant, none;
	struct fixture fixture;
	struct pool_view view;

	(void)state;
	open_pool(&fixture, CAPACITY);
	view = alloc(&fixture, ANNE, 100, 0);
	for (uint32_t i = 0; i < POOL_MAX_GRANTS; i++)
		grant = export(&fixture, ANNE, view.handle, false, 0);
	assert_int_equal(pool_export(fixture.pool, ANNE, view.handle, false, 0, &none),
	                 SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), "4096 tensors"));
	assert_int_equal(pool_release_grant(fixture.pool, grant.handle, grant.token), SIMPLER_OK);
	(void)export(&fixture, ANNE, view.handle, false, 0);
	close_pool(&fixture);
}

/* --- sessions as a whole --- */

static void expect_full(simpler_status status, const char *text)
{
	assert_int_equal(status, SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), text));
}

static void a_session_has_so_many_handles_and_grants_and_others_have_their_own(void **state)
{
	struct pool_view mine[3], others, none, pinned;
	struct pool_grant grants[2], no_grant;
	struct fixture fixture;

	(void)state;
	open_limited(&fixture, CAPACITY, 3, 2);
	for (size_t i = 0; i < 3; i++)
		mine[i] = alloc(&fixture, ANNE, i * 100, 0);
	expect_full(pool_alloc(fixture.pool, ANNE, 1, 0, &none), "3 tensors");
	for (size_t i = 0; i < 2; i++)
		grants[i] = export(&fixture, ANNE, mine[i].handle, false, 0);
	expect_full(pool_export(fixture.pool, ANNE, mine[2].handle, false, 0, &no_grant),
	            "2 tensors");
	/* Others are not in the way, nor in need. */
	others = alloc(&fixture, NOBODY, 100, 0);
	(void)export(&fixture, NOBODY, others.handle, false, 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(import(&fixture, BEN, &grants[0], &others), SIMPLER_OK);
	expect_full(import(&fixture, BEN, &grants[0], &none), "3 tensors");
	/* What a dispatch needs for itself is nobody's. */
	assert_int_equal(pool_alloc_scratch(fixture.pool, 10, &none), SIMPLER_OK);
	pool_unpin(fixture.pool, none.handle);
	assert_int_equal(pool_pin_granted(fixture.pool, grants[0].handle, grants[0].token, &none),
	                 SIMPLER_OK);
	pool_unpin(fixture.pool, none.handle);
	/* There is room when something is gone, and not before. */
	assert_int_equal(pool_pin(fixture.pool, ANNE, mine[2].handle, POOL_READ, &pinned),
	                 SIMPLER_OK);
	assert_int_equal(pool_free(fixture.pool, ANNE, mine[2].handle), SIMPLER_OK);
	expect_full(pool_alloc(fixture.pool, ANNE, 1, 0, &none), "3 tensors");
	pool_unpin(fixture.pool, mine[2].handle);
	mine[2] = alloc(&fixture, ANNE, 1, 0);
	assert_int_equal(pool_release_grant(fixture.pool, grants[1].handle, grants[1].token),
	                 SIMPLER_OK);
	(void)export(&fixture, ANNE, mine[2].handle, false, 0);
	pool_end_session(fixture.pool, ANNE);
	for (size_t i = 0; i < 3; i++)
		(void)alloc(&fixture, ANNE, 0, 0);
	close_pool(&fixture);
}

static void a_session_renews_all_it_has_each_for_its_own_time(void **state)
{
	struct pool_view brief, lasting, other;
	struct fixture fixture;
	struct pool_grant grant;

	(void)state;
	open_pool(&fixture, CAPACITY);
	brief = alloc(&fixture, ANNE, 64, 1000);
	lasting = alloc(&fixture, ANNE, 64, 3000);
	other = alloc(&fixture, BEN, 64, 1000);
	grant = export(&fixture, ANNE, lasting.handle, false, 1000);
	pass_ms(fixture.pool, 900);
	pool_renew_session(fixture.pool, ANNE);
	pass_ms(fixture.pool, 900);
	assert_int_equal(lookup(&fixture, other.handle), SIMPLER_ESTALE);
	assert_int_equal(lookup(&fixture, brief.handle), SIMPLER_OK);
	assert_int_equal(stats_of(&fixture).grants, 1);
	pass_ms(fixture.pool, 100);
	assert_int_equal(lookup(&fixture, brief.handle), SIMPLER_ESTALE);
	assert_int_equal(stats_of(&fixture).grants, 0);
	assert_int_equal(lookup(&fixture, lasting.handle), SIMPLER_OK);
	pass_ms(fixture.pool, 2000);
	assert_int_equal(lookup(&fixture, lasting.handle), SIMPLER_ESTALE);
	assert_int_equal(stats_of(&fixture).used, 0);
	(void)grant;
	close_pool(&fixture);
}

static void what_a_session_had_goes_with_it_and_nothing_else(void **state)
{
	struct pool_view mine, pinned, lent, imported, other, unused;
	struct pool_grant grant, unspent;
	struct fixture fixture;

	(void)state;
	open_pool(&fixture, CAPACITY);
	mine = alloc(&fixture, ANNE, 64, 0);
	pinned = alloc(&fixture, ANNE, 64, 0);
	lent = alloc(&fixture, ANNE, 64, 0);
	other = alloc(&fixture, BEN, 64, 0);
	assert_int_equal(pool_pin(fixture.pool, ANNE, pinned.handle, POOL_WRITE, &unused),
	                 SIMPLER_OK);
	grant = export(&fixture, ANNE, lent.handle, true, 0);
	unspent = export(&fixture, ANNE, mine.handle, true, 0);
	assert_int_equal(import(&fixture, BEN, &grant, &imported), SIMPLER_OK);
	pool_end_session(fixture.pool, ANNE);
	assert_int_equal(lookup(&fixture, mine.handle), SIMPLER_ESTALE);
	assert_int_equal(lookup(&fixture, pinned.handle), SIMPLER_ESTALE);
	assert_int_equal(import(&fixture, BEN, &unspent, &unused), SIMPLER_EPERM);
	assert_int_equal(stats_of(&fixture).used, 3 * 64); /* pinned, imported, BEN's own */
	pool_unpin(fixture.pool, pinned.handle);
	assert_int_equal(lookup(&fixture, other.handle), SIMPLER_OK);
	assert_int_equal(lookup(&fixture, imported.handle), SIMPLER_OK);
	assert_int_equal(pool_free(fixture.pool, BEN, imported.handle), SIMPLER_OK);
	assert_int_equal(stats_of(&fixture).used, 64);
	close_pool(&fixture);
}

/* --- segments --- */

static struct segment_view open_segment(struct fixture *fixture, uint64_t session)
{
	struct segment_view segment;

	assert_int_equal(pool_open_segment(fixture->pool, session, &segment), SIMPLER_OK);
	pool_begin_segment(fixture->pool, session);
	return segment;
}

static void a_session_with_a_segment_has_its_storage_there(void **state)
{
	struct pool_view before, mine, other, imported;
	struct segment_view segment, again;
	struct fixture fixture;
	struct pool_grant grant;

	(void)state;
	open_pool(&fixture, CAPACITY);
	assert_int_equal(pool_open_segment(fixture.pool, ANNE, &segment), SIMPLER_OK);
	before = alloc(&fixture, ANNE, 100, 0); /* not begun */
	segment = open_segment(&fixture, ANNE);
	again = open_segment(&fixture, ANNE);
	assert_int_equal(segment.id, again.id);
	assert_int_equal(segment.bytes, CAPACITY);
	assert_int_equal(backed_bytes(segment.memfd), 0);
	mine = alloc(&fixture, ANNE, MIB, 0);
	other = alloc(&fixture, BEN, 100, 0);
	assert_int_equal(before.segment, POOL_MAIN_SEGMENT);
	assert_int_equal(other.segment, POOL_MAIN_SEGMENT);
	assert_int_equal(mine.segment, segment.id);
	assert_true(mine.direct && !before.direct && !other.direct);
	assert_ptr_equal(mine.bytes, segment.base + mine.offset);
	assert_int_equal(backed_bytes(segment.memfd), MIB);
	/* Whoever imports it has no access to the segment. */
	grant = export(&fixture, ANNE, mine.handle, true, 0);
	assert_int_equal(import(&fixture, BEN, &grant, &imported), SIMPLER_OK);
	assert_int_equal(imported.segment, segment.id);
	assert_false(imported.direct);
	close_pool(&fixture);
}

static void all_segments_share_the_one_limit(void **state)
{
	struct pool_view here, there, none;
	struct segment_view segment;
	struct fixture fixture;

	(void)state;
	open_pool(&fixture, CAPACITY);
	segment = open_segment(&fixture, ANNE);
	there = alloc(&fixture, ANNE, 10 * MIB, 0);
	assert_int_equal(pool_alloc(fixture.pool, BEN, 7 * MIB, 0, &none), SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), "asked for 7340032 "));
	assert_non_null(strstr(simpler_last_error(), "10485760 of its 16777216 bytes are used"));
	assert_non_null(strstr(simpler_last_error(), "largest gap is 6291456"));
	here = alloc(&fixture, BEN, 6 * MIB, 0);
	assert_int_equal(pool_alloc(fixture.pool, ANNE, 1, 0, &none), SIMPLER_ENOSPACE);
	/* What is kept for the next use counts, too: it makes room for others. */
	assert_int_equal(pool_free(fixture.pool, ANNE, there.handle), SIMPLER_OK);
	assert_int_equal(backed_bytes(segment.memfd), 10 * MIB);
	there = alloc(&fixture, BEN, 10 * MIB, 0);
	assert_int_equal(backed_bytes(segment.memfd), 0);
	assert_int_equal(backed_bytes(fixture.fd), CAPACITY);
	assert_int_equal(stats_of(&fixture).committed, CAPACITY);
	assert_int_equal(pool_free(fixture.pool, BEN, here.handle), SIMPLER_OK);
	here = alloc(&fixture, ANNE, 6 * MIB, 0);
	assert_int_equal(here.segment, segment.id);
	assert_int_equal(stats_of(&fixture).committed, CAPACITY);
	close_pool(&fixture);
}

static void a_segment_ends_with_its_session_and_its_last_storage(void **state)
{
	struct segment_view segment, next;
	struct pool_view mine, imported;
	struct fixture fixture;
	struct pool_grant grant;

	(void)state;
	open_pool(&fixture, CAPACITY);
	segment = open_segment(&fixture, ANNE);
	(void)alloc(&fixture, ANNE, 4 * MIB, 0);
	mine = alloc(&fixture, ANNE, MIB, 0);
	grant = export(&fixture, ANNE, mine.handle, false, 0);
	assert_int_equal(import(&fixture, BEN, &grant, &imported), SIMPLER_OK);
	assert_int_equal(pool_ended_segment(fixture.pool), 0);
	pool_end_session(fixture.pool, ANNE);
	/* Nothing of an ended one is kept for the next. */
	assert_int_equal(backed_bytes(segment.memfd), MIB);
	assert_int_equal(pool_ended_segment(fixture.pool), 0);
	/* The same session has another one when it comes back. */
	next = open_segment(&fixture, ANNE);
	assert_true(next.id != segment.id);
	assert_int_equal(pool_free(fixture.pool, BEN, imported.handle), SIMPLER_OK);
	assert_int_equal(backed_bytes(segment.memfd), 0);
	assert_int_equal(pool_ended_segment(fixture.pool), segment.id);
	pool_drop_segment(fixture.pool, segment.id);
	assert_int_equal(pool_ended_segment(fixture.pool), 0);
	assert_int_equal(stats_of(&fixture).segments, 1);
	assert_int_equal(stats_of(&fixture).committed, 0);
	close_pool(&fixture);
}

static void the_number_of_segments_is_limited(void **state)
{
	struct segment_view none;
	struct fixture fixture;

	(void)state;
	open_pool(&fixture, CAPACITY);
	for (uint64_t session = 1; session <= STORE_MAX_SEGMENTS; session++)
		(void)open_segment(&fixture, session);
	assert_int_equal(pool_open_segment(fixture.pool, 1000, &none), SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), "64 sessions"));
	pool_end_session(fixture.pool, 1);
	pool_drop_segment(fixture.pool, pool_ended_segment(fixture.pool));
	(void)open_segment(&fixture, 1000);
	close_pool(&fixture);
}

/* --- races --- */

/*
 * Several threads, each with a session of its own that it ends and begins anew, while leases run
 * out, are renewed, and what one exports is imported, read and freed by another. Whatever a thread
 * has pinned stays as it wrote it, and in the end nothing is left.
 */
struct player {
	struct pool *pool;
	uint64_t session, seed, rounds;
	pthread_t thread;
	bool failed;
};

/* What was exported last, for whoever wants it. */
static struct pool_grant table[4];
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;

static void put_grant(const struct pool_grant *grant, uint64_t number)
{
	pthread_mutex_lock(&table_lock);
	table[number % 4] = *grant;
	pthread_mutex_unlock(&table_lock);
}

static struct pool_grant get_grant(uint64_t number)
{
	struct pool_grant grant;

	pthread_mutex_lock(&table_lock);
	grant = table[number % 4];
	pthread_mutex_unlock(&table_lock);
	return grant;
}

/* Whatever is done to the handle meanwhile, pinned bytes are there. */
static bool use_own(const struct player *player, const struct pool_view *view)
{
	struct pool_view pinned;
	bool fine = true;

	if (pool_pin(player->pool, player->session, view->handle, POOL_WRITE, &pinned) !=
	    SIMPLER_OK)
		return true; /* its lease is over already */
	memset(pinned.bytes, (int)player->session, 64);
	for (size_t i = 0; i < 64; i++)
		fine = fine && pinned.bytes[i] == player->session;
	pool_unpin(player->pool, view->handle);
	return fine;
}

static void use_granted(const struct player *player, uint64_t number)
{
	struct pool_grant grant = get_grant(number);
	struct pool_view view;

	if (pool_import(player->pool, player->session, grant.handle, grant.token, 0, &view) ==
	    SIMPLER_OK)
		(void)pool_free(player->pool, player->session, view.handle);
	if (pool_pin_granted(player->pool, grant.handle, grant.token, &view) == SIMPLER_OK)
		pool_unpin(player->pool, view.handle);
	if (number % 8 == 0)
		(void)pool_release_grant(player->pool, grant.handle, grant.token);
}

static bool play_once(struct player *player, uint64_t number)
{
	struct pool *pool = player->pool;
	struct segment_view segment;
	struct pool_grant grant;
	struct pool_view view;
	uint32_t ended;

	if (number % 16 == 0 && pool_open_segment(pool, player->session, &segment) == SIMPLER_OK)
		pool_begin_segment(pool, player->session);
	if (pool_alloc(pool, player->session, 64 + number % 400000, 1 + number % 3, &view) !=
	    SIMPLER_OK)
		return true; /* no room just now */
	/* The clock goes on, and ends leases while others use what they are of. */
	atomic_fetch_add(&manual_time, CLOCK_MS / 4);
	(void)pool_expire(pool);
	if (!use_own(player, &view))
		return false;
	if (pool_export(pool, player->session, view.handle, false, 1 + number % 5, &grant) ==
	    SIMPLER_OK)
		put_grant(&grant, number >> 8);
	use_granted(player, number >> 16);
	(void)pool_refresh(pool, player->session, view.handle, 5, &view);
	if (number % 4 == 0)
		(void)pool_free(pool, player->session, view.handle);
	if (number % 32 == 1)
		pool_renew_session(pool, player->session);
	if (number % 32 == 2)
		pool_end_session(pool, player->session);
	/* One thread drops what has ended, as in a daemon. */
	while (player->session == 1 && (ended = pool_ended_segment(pool)) != 0)
		pool_drop_segment(pool, ended);
	return true;
}

static void *play(void *argument)
{
	struct player *player = argument;

	for (uint64_t i = 0; i < player->rounds && !player->failed; i++)
		player->failed = !play_once(player, random_from(&player->seed) >> 8);
	pool_end_session(player->pool, player->session);
	return NULL;
}

static void ends_imports_and_uses_may_come_at_any_moment(void **state)
{
	uint64_t rounds = random_begin("sessions", 20000) / 4;
	struct player players[4];
	struct fixture fixture;
	uint32_t ended;

	(void)state;
	open_pool(&fixture, 4 * MIB);
	for (uint64_t i = 0; i < 4; i++) {
		players[i] = (struct player){ .pool = fixture.pool,
			                      .session = i + 1,
			                      .seed = random_from(&random_state),
			                      .rounds = rounds };
		assert_int_equal(pthread_create(&players[i].thread, NULL, play, &players[i]), 0);
	}
	for (uint64_t i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(players[i].thread, NULL), 0);
		assert_false(players[i].failed);
	}
	while ((ended = pool_ended_segment(fixture.pool)) != 0)
		pool_drop_segment(fixture.pool, ended);
	assert_int_equal(stats_of(&fixture).handles, 0);
	assert_int_equal(stats_of(&fixture).grants, 0);
	assert_int_equal(stats_of(&fixture).used, 0);
	assert_int_equal(stats_of(&fixture).segments, 0);
	close_pool(&fixture);
}

/* --- fragmentation --- */

/* Sizes of three kinds: a few bytes, up to a page, up to some hundred KiB. */
static uint64_t some_size(void)
{
	uint32_t kind = random_below(100);

	return 1 + random_below(kind < 60 ? 512 : kind < 95 ? 16 * 1024 : 600 * 1024);
}

/*
 * Half of the pool is kept in use, by random sizes in random order. However long that goes on, a
 * request for a sixteenth of the pool finds room, and memory is committed for no more than the pool
 * has. `shared`: how many in four are of the session with a segment.
 */
static void churn(uint64_t operations, uint32_t shared)
{
	enum { MOST = 4000 };
	static struct {
		uint64_t handle, session;
	} live[MOST];
	const uint64_t capacity = 64 * MIB;
	uint64_t least = UINT64_MAX;
	struct fixture fixture;
	uint32_t count = 0;

	open_pool(&fixture, capacity);
	(void)open_segment(&fixture, ANNE);
	for (uint64_t i = 0; i < operations; i++) {
		struct pool_stats stats = stats_of(&fixture);
		uint32_t at;

		if (count < MOST && stats.used < capacity / 2 && random_below(2) == 0) {
			live[count].session = random_below(4) < shared ? ANNE : NOBODY;
			live[count].handle =
				alloc(&fixture, live[count].session, some_size(), 0).handle;
			count++;
		} else if (count > 0) {
			at = random_below(count);
			assert_int_equal(pool_free(fixture.pool, live[at].session, live[at].handle),
			                 SIMPLER_OK);
			live[at] = live[--count];
		}
		assert_true(stats.committed <= capacity);
		least = stats.largest_free < least ? stats.largest_free : least;
	}
	printf("%u in 4 elsewhere: the largest gap was never below %llu KiB of %llu\n", shared,
	       (unsigned long long)(least / KIB), (unsigned long long)(capacity / KIB));
	assert_true(least >= capacity / 16);
	close_pool(&fixture);
}

static void fragmentation_stays_bounded_over_a_million_operations(void **state)
{
	uint64_t operations = random_begin("fragmentation", 1000000);

	(void)state;
	churn(operations, 0);
	churn(operations / 4, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_session_is_told_the_same_as_of_what_never_was),
		cmocka_unit_test(what_is_imported_is_the_same_bytes_under_another_handle),
		cmocka_unit_test(storage_goes_with_the_last_who_holds_it),
		cmocka_unit_test(a_grant_is_for_who_has_its_token_and_ends),
		cmocka_unit_test(the_number_of_grants_is_limited),
		cmocka_unit_test(
			a_session_has_so_many_handles_and_grants_and_others_have_their_own),
		cmocka_unit_test(a_session_renews_all_it_has_each_for_its_own_time),
		cmocka_unit_test(what_a_session_had_goes_with_it_and_nothing_else),
		cmocka_unit_test(a_session_with_a_segment_has_its_storage_there),
		cmocka_unit_test(all_segments_share_the_one_limit),
		cmocka_unit_test(a_segment_ends_with_its_session_and_its_last_storage),
		cmocka_unit_test(the_number_of_segments_is_limited),
		cmocka_unit_test(ends_imports_and_uses_may_come_at_any_moment),
		cmocka_unit_test(fragmentation_stays_bounded_over_a_million_operations),
	};

	return cmocka_run_group_tests_name("pool_sessions", tests, NULL, NULL);
}
