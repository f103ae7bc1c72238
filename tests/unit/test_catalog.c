/* What a front end may rely on: which pushes are taken in, when a callable can be found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "catalog/catalog.h"
#include "simpler/version.h"
#include "temporary_directory.h"
#include "test_modules.h"

#define ID 77

static uint8_t twice_bytes[1 << 20], two_files_bytes[1 << 20];
static simpler_bytes twice, two_files;
static struct policy *anybody;

static simpler_bytes read_module(const char *name, uint8_t *buffer, size_t capacity)
{
	char path[4096];
	FILE *file;
	size_t size;

	(void)snprintf(path, sizeof(path), "%s/%s.so", TEST_MODULES_DIR, name);
	file = fopen(path, "rb");
	assert_non_null(file);
	size = fread(buffer, 1, capacity, file);
	assert_true(size > 0 && size < capacity);
	assert_int_equal(fclose(file), 0);
	return (simpler_bytes){ buffer, size };
}

static int read_modules(void **state)
{
	(void)state;
	twice = read_module("twice", twice_bytes, sizeof(twice_bytes));
	two_files = read_module("two_files", two_files_bytes, sizeof(two_files_bytes));
	return policy_create(POLICY_ANY, NULL, &anybody) == SIMPLER_OK ? 0 : 1;
}

static int drop_policy(void **state)
{
	(void)state;
	policy_destroy(anybody);
	return 0;
}

static int64_t manual_now;

static int64_t manual_clock(void)
{
	return manual_now;
}

static struct catalog *make(size_t callables, size_t modules, uint64_t module_bytes)
{
	const struct catalog_options options = {
		.callables = callables,
		.owners = 4 * callables,
		.modules = { .modules = modules, .bytes = module_bytes, .uploads = 2 },
		.now = manual_clock,
	};
	struct catalog *catalog = catalog_create(&options, anybody);

	assert_non_null(catalog);
	return catalog;
}

static struct catalog *make_default(void)
{
	return make(4096, 256, UINT64_C(1) << 30);
}

/* What is only looked at need not be pinned. */
static simpler_status find(struct catalog *catalog, uint64_t id, uint64_t version,
                           struct catalog_entry *out)
{
	simpler_status status = catalog_find(catalog, id, version, out);

	if (!status)
		catalog_unpin(catalog, out->key);
	return status;
}

static bool next(struct catalog *catalog, uint64_t after, struct catalog_entry *out)
{
	bool found = catalog_next(catalog, after, out);

	if (found)
		catalog_unpin(catalog, out->key);
	return found;
}

/* A sub task 'twice' of module "twice" whose captured state is a number. */
static struct payload describe(const uint32_t *number)
{
	struct payload payload = {
		.kind = SIMPLER_KIND_SUB,
		.abi = SIMPLER_CALLABLE_ABI,
		.origin = { .source = ORIGIN_MODULE },
		.name = "twice",
		.state = { number, sizeof(*number) },
		.module_bytes = twice,
	};

	assert_int_equal(digest_compute(twice.data, twice.size, &payload.origin.module),
	                 SIMPLER_OK);
	return payload;
}

static simpler_status push(struct catalog *catalog, uint64_t id, uint64_t version,
                           const struct payload *payload, struct catalog_entry *out, bool *fresh)
{
	simpler_bytes bytes;
	uint8_t *encoded = malloc(payload_size(payload));
	simpler_status status;

	assert_non_null(encoded);
	payload_encode(payload, encoded);
	bytes = (simpler_bytes){ encoded, payload_size(payload) };
	status = catalog_offer(
		catalog,
		&(struct catalog_offering){
			.callable_id = id, .version = version, .payload = bytes, .commit = true },
		out, fresh);
	free(encoded);
	return status;
}

static simpler_status push_number(struct catalog *catalog, uint64_t id, uint32_t number,
                                  struct catalog_entry *out)
{
	struct payload payload = describe(&number);
	bool fresh;

	return push(catalog, id, 0, &payload, out, &fresh);
}

/* Pushed and installed. */
static struct catalog_entry install(struct catalog *catalog, uint64_t id, uint32_t number)
{
	struct catalog_entry entry;

	assert_int_equal(push_number(catalog, id, number, &entry), SIMPLER_OK);
	catalog_settle(catalog, entry.key, true);
	assert_true(catalog_get(catalog, entry.key, &entry));
	return entry;
}

static void a_push_is_pending_then_visible(void **state)
{
	struct catalog *catalog = make_default();
	uint32_t number = 5;
	struct payload payload = describe(&number);
	struct catalog_entry entry, found;
	bool fresh;

	(void)state;
	assert_int_equal(find(catalog, ID, 0, &found), SIMPLER_ENOTFOUND);
	assert_int_equal(push(catalog, ID, 0, &payload, &entry, &fresh), SIMPLER_OK);
	assert_true(fresh);
	assert_int_equal(entry.state, CATALOG_PENDING);
	assert_true(entry.key == 1);
	assert_true(entry.version == digest_version(&entry.digest));
	assert_int_equal(find(catalog, ID, 0, &found), SIMPLER_ESTATE);
	assert_int_equal(find(catalog, ID, entry.version, &found), SIMPLER_ESTATE);
	assert_non_null(strstr(simpler_last_error(), "still being installed"));
	catalog_settle(catalog, entry.key, true);
	assert_int_equal(find(catalog, ID, entry.version, &found), SIMPLER_OK);
	assert_int_equal(found.state, CATALOG_VISIBLE);
	assert_true(found.key == entry.key);
	assert_string_equal(found.payload.name, "twice");
	assert_int_equal(found.payload.state.size, sizeof(number));
	assert_memory_equal(found.payload.state.data, &number, sizeof(number));
	catalog_destroy(catalog);
}

static void a_failed_install_leaves_nothing_behind(void **state)
{
	struct catalog *catalog = make(1, 1, twice.size);
	struct catalog_entry entry;

	(void)state;
	for (uint32_t i = 1; i <= 3; i++) {
		assert_int_equal(push_number(catalog, ID, i, &entry), SIMPLER_OK);
		assert_true(entry.key == i);
		catalog_settle(catalog, entry.key, false);
		assert_false(catalog_get(catalog, entry.key, &entry));
		assert_int_equal(find(catalog, ID, 0, &entry), SIMPLER_ENOTFOUND);
	}
	catalog_destroy(catalog);
}

/* As the installer does, which tells who waits while it still looks at the callable. */
static void one_that_failed_is_new_when_it_is_pushed_again_though_it_is_pinned(void **state)
{
	struct catalog *catalog = make_default();
	uint32_t number = 5;
	struct payload payload = describe(&number);
	struct catalog_entry failed, again, entry;
	bool fresh;

	(void)state;
	assert_int_equal(push(catalog, ID, 0, &payload, &failed, &fresh), SIMPLER_OK);
	assert_true(catalog_next(catalog, 0, &entry));
	catalog_settle(catalog, failed.key, false);
	assert_false(catalog_get(catalog, failed.key, &entry));
	assert_int_equal(find(catalog, ID, 0, &entry), SIMPLER_ENOTFOUND);
	assert_false(catalog_next(catalog, 0, &entry));
	assert_int_equal(push(catalog, ID, 0, &payload, &again, &fresh), SIMPLER_OK);
	assert_true(fresh);
	assert_int_equal(again.state, CATALOG_PENDING);
	assert_true(again.key != failed.key);
	catalog_unpin(catalog, failed.key);
	catalog_settle(catalog, again.key, true);
	assert_int_equal(find(catalog, ID, 0, &entry), SIMPLER_OK);
	assert_true(entry.key == again.key);
	catalog_destroy(catalog);
}

static void pushing_again_changes_nothing(void **state)
{
	struct catalog *catalog = make_default();
	uint32_t number = 5;
	struct payload payload = describe(&number);
	struct catalog_entry first, again;
	bool fresh;

	(void)state;
	assert_int_equal(push(catalog, ID, 0, &payload, &first, &fresh), SIMPLER_OK);
	assert_int_equal(push(catalog, ID, first.version, &payload, &again, &fresh), SIMPLER_OK);
	assert_false(fresh);
	assert_int_equal(again.state, CATALOG_PENDING);
	assert_true(again.key == first.key);
	catalog_settle(catalog, first.key, true);
	payload.module_bytes = simpler_no_state();
	assert_int_equal(push(catalog, ID, 0, &payload, &again, &fresh), SIMPLER_OK);
	assert_false(fresh);
	assert_int_equal(again.state, CATALOG_VISIBLE);
	assert_true(again.key == first.key);
	catalog_destroy(catalog);
}

static void a_visible_callable_stays(void **state)
{
	struct catalog *catalog = make_default();
	struct catalog_entry entry = install(catalog, ID, 1);

	(void)state;
	catalog_settle(catalog, entry.key, false);
	catalog_settle(catalog, entry.key, true);
	catalog_settle(catalog, 99, false);
	assert_int_equal(find(catalog, ID, 0, &entry), SIMPLER_OK);
	catalog_destroy(catalog);
}

static void a_module_can_be_named_by_digest_once_it_is_known(void **state)
{
	struct catalog *catalog = make_default();
	uint32_t number = 1;
	struct payload payload = describe(&number);
	struct catalog_entry whole, entry;
	char digest[DIGEST_HEX_BYTES];
	bool fresh;

	(void)state;
	payload.module_bytes = simpler_no_state();
	digest_hex(&payload.origin.module, digest);
	assert_int_equal(push(catalog, ID, 0, &payload, &entry, &fresh), SIMPLER_ENOTFOUND);
	assert_non_null(strstr(simpler_last_error(), digest));
	assert_non_null(strstr(simpler_last_error(), "send the payload with the module's bytes"));
	whole = install(catalog, ID, 2);
	assert_int_equal(push(catalog, ID, 0, &payload, &entry, &fresh), SIMPLER_OK);
	assert_true(fresh);
	assert_int_equal(entry.module_fd, whole.module_fd);
	assert_int_equal(entry.module_bytes.size, twice.size);
	catalog_destroy(catalog);
}

static void a_module_outlives_its_last_callable_until_its_room_is_needed(void **state)
{
	struct catalog *catalog = make(4, 1, twice.size + two_files.size);
	uint32_t number = 3;
	struct payload payload = describe(&number), other = describe(&number);
	struct catalog_entry entry;
	bool fresh;

	(void)state;
	assert_int_equal(push_number(catalog, ID, 1, &entry), SIMPLER_OK);
	catalog_settle(catalog, entry.key, false);
	payload.module_bytes = simpler_no_state();
	assert_int_equal(push(catalog, ID, 0, &payload, &entry, &fresh), SIMPLER_OK);
	catalog_settle(catalog, entry.key, false);
	other.module_bytes = two_files;
	(void)snprintf(other.name, sizeof(other.name), "first");
	assert_int_equal(digest_compute(two_files.data, two_files.size, &other.origin.module),
	                 SIMPLER_OK);
	assert_int_equal(push(catalog, ID, 0, &other, &entry, &fresh), SIMPLER_OK);
	assert_int_equal(push(catalog, ID, 0, &payload, &entry, &fresh), SIMPLER_ENOTFOUND);
	catalog_destroy(catalog);
}

static void the_module_is_a_descriptor_that_nobody_can_change(void **state)
{
	struct catalog *catalog = make_default();
	struct catalog_entry entry = install(catalog, ID, 1);
	uint8_t *bytes = malloc(twice.size);

	(void)state;
	assert_non_null(bytes);
	assert_int_equal(pread(entry.module_fd, bytes, twice.size, 0), (ssize_t)twice.size);
	assert_memory_equal(bytes, twice.data, twice.size);
	assert_true(pwrite(entry.module_fd, "x", 1, 0) < 0);
	free(bytes);
	catalog_destroy(catalog);
}

static void the_newest_version_is_the_one_pushed_last(void **state)
{
	struct catalog *catalog = make_default();
	struct catalog_entry first = install(catalog, ID, 1), second = install(catalog, ID, 2);
	struct catalog_entry third, found;

	(void)state;
	assert_int_equal(find(catalog, ID, 0, &found), SIMPLER_OK);
	assert_true(found.version == second.version);
	assert_int_equal(push_number(catalog, ID, 3, &third), SIMPLER_OK);
	assert_int_equal(find(catalog, ID, 0, &found), SIMPLER_OK);
	assert_true(found.version == second.version);
	catalog_settle(catalog, third.key, true);
	assert_int_equal(find(catalog, ID, 0, &found), SIMPLER_OK);
	assert_true(found.version == third.version);
	assert_int_equal(push_number(catalog, ID, 1, &found), SIMPLER_OK);
	assert_int_equal(find(catalog, ID, 0, &found), SIMPLER_OK);
	assert_true(found.version == first.version);
	catalog_destroy(catalog);
}

/* R09: whoever asks for the newest is told which it is. */
static void R09_the_newest_comes_with_its_version_and_digest(void **state)
{
	struct catalog *catalog = make_default();
	struct catalog_entry entry = install(catalog, ID, 1), found;

	(void)state;
	assert_int_equal(find(catalog, ID, 0, &found), SIMPLER_OK);
	assert_true(found.version != 0);
	assert_true(found.version == entry.version);
	assert_memory_equal(&found.digest, &entry.digest, sizeof(entry.digest));
	assert_int_equal(find(catalog, ID, found.version, &found), SIMPLER_OK);
	catalog_destroy(catalog);
}

static void a_wrong_version_is_told_the_right_ones(void **state)
{
	struct catalog *catalog = make_default();
	struct catalog_entry first = install(catalog, ID, 1), second = install(catalog, ID, 2);
	struct catalog_entry found;
	char versions[64];

	(void)state;
	(void)snprintf(versions, sizeof(versions), "there are: %llu, %llu",
	               (unsigned long long)second.version, (unsigned long long)first.version);
	assert_int_equal(find(catalog, ID, 123, &found), SIMPLER_ESTATE);
	assert_non_null(strstr(simpler_last_error(), versions));
	assert_int_equal(find(catalog, ID + 1, 123, &found), SIMPLER_ENOTFOUND);
	catalog_destroy(catalog);
}

static void bad_offers_are_refused_with_the_reason(void **state)
{
	struct catalog *catalog = make_default();
	uint32_t number = 1;
	struct payload payload = describe(&number);
	struct catalog_entry entry;
	const struct catalog_offering nothing = { .callable_id = ID };
	bool fresh;

	(void)state;
	assert_int_equal(push(catalog, 0, 0, &payload, &entry, &fresh), SIMPLER_EINVAL);
	assert_int_equal(push(catalog, ID, 1, &payload, &entry, &fresh), SIMPLER_EINVAL);
	assert_non_null(strstr(simpler_last_error(), "version 1 is not that of 'twice'"));
	payload.kind = SIMPLER_KIND_ORCH;
	assert_int_equal(push(catalog, ID, 0, &payload, &entry, &fresh), SIMPLER_EKIND);
	payload.kind = SIMPLER_KIND_SUB;
	(void)snprintf(payload.name, sizeof(payload.name), "thrice");
	assert_int_equal(push(catalog, ID, 0, &payload, &entry, &fresh), SIMPLER_ENOTFOUND);
	assert_non_null(strstr(simpler_last_error(), "twice (sub task)"));
	payload.module_bytes = (simpler_bytes){ "no module", 9 };
	assert_int_equal(digest_compute("no module", 9, &payload.origin.module), SIMPLER_OK);
	assert_int_equal(push(catalog, ID, 0, &payload, &entry, &fresh), SIMPLER_EINVAL);
	assert_int_equal(catalog_offer(catalog, &nothing, &entry, &fresh), SIMPLER_EINVAL);
	assert_false(next(catalog, 0, &entry));
	catalog_destroy(catalog);
}

/* Nothing of what was refused takes room. */
static void limits_are_told(void **state)
{
	struct catalog *catalog = make(2, 1, twice.size);
	uint32_t number = 1;
	struct payload other = describe(&number);
	struct catalog_entry entry;
	bool fresh;

	(void)state;
	install(catalog, ID, 1);
	other.module_bytes = two_files;
	(void)snprintf(other.name, sizeof(other.name), "first");
	assert_int_equal(digest_compute(two_files.data, two_files.size, &other.origin.module),
	                 SIMPLER_OK);
	assert_int_equal(push(catalog, ID, 0, &other, &entry, &fresh), SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), "1 modules are in use"));
	install(catalog, ID, 2);
	assert_int_equal(push_number(catalog, ID + 1, 3, &entry), SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), "2 callables"));
	assert_int_equal(find(catalog, ID + 1, 0, &entry), SIMPLER_ENOTFOUND);
	catalog_destroy(catalog);
}

static void module_bytes_are_limited_in_all(void **state)
{
	struct catalog *catalog = make(2, 2, twice.size + two_files.size - 1);
	uint32_t number = 1;
	struct payload other = describe(&number);
	struct catalog_entry first, entry;
	bool fresh;

	(void)state;
	assert_int_equal(push_number(catalog, ID, 1, &first), SIMPLER_OK);
	other.module_bytes = two_files;
	(void)snprintf(other.name, sizeof(other.name), "first");
	assert_int_equal(digest_compute(two_files.data, two_files.size, &other.origin.module),
	                 SIMPLER_OK);
	assert_int_equal(push(catalog, ID, 0, &other, &entry, &fresh), SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), "finds no room"));
	catalog_settle(catalog, first.key, false);
	assert_int_equal(push(catalog, ID, 0, &other, &entry, &fresh), SIMPLER_OK);
	catalog_destroy(catalog);
}

static void what_engines_keep_dying_of_is_gone_at_the_third_time_in_a_row(void **state)
{
	struct catalog *catalog = make(3, 1, twice.size);
	struct catalog_entry other = install(catalog, ID, 1), deadly = install(catalog, ID, 2);
	struct catalog_entry pending, found;
	const uint32_t number = 2;

	(void)state;
	for (int survived = 0; survived < 2; survived++) {
		assert_false(catalog_blame(catalog, deadly.key));
		assert_false(catalog_blame(catalog, deadly.key));
		assert_int_equal(find(catalog, ID, deadly.version, &found), SIMPLER_OK);
		if (!survived)
			catalog_settle(catalog, deadly.key, true);
	}
	assert_int_equal(catalog_find(catalog, ID, deadly.version, &deadly), SIMPLER_OK);
	assert_true(catalog_blame(catalog, deadly.key));
	assert_false(catalog_blame(catalog, deadly.key));
	assert_int_equal(find(catalog, ID, deadly.version, &found), SIMPLER_ESTATE);
	assert_int_equal(find(catalog, ID, 0, &found), SIMPLER_OK);
	assert_true(found.key == other.key);
	/* Who had found it may still read it; and it may be pushed again. */
	assert_memory_equal(deadly.payload.state.data, &number, sizeof(number));
	catalog_unpin(catalog, deadly.key);
	assert_int_equal(push_number(catalog, ID, 2, &pending), SIMPLER_OK);
	assert_true(pending.key > deadly.key);
	for (unsigned i = 0; i < CATALOG_MOST_DEATHS; i++)
		assert_false(catalog_blame(catalog, pending.key));
	catalog_destroy(catalog);
}

static void what_is_pulled_from_one_node_can_be_pushed_to_another(void **state)
{
	struct catalog *one = make_default(), *other = make_default();
	struct catalog_entry pulled, pushed;
	bool fresh;

	(void)state;
	install(one, ID, 1);
	assert_int_equal(find(one, ID, 0, &pulled), SIMPLER_OK);
	assert_int_equal(
		push(other, pulled.callable_id, pulled.version, &pulled.payload, &pushed, &fresh),
		SIMPLER_OK);
	assert_true(fresh);
	assert_memory_equal(&pushed.digest, &pulled.digest, sizeof(pulled.digest));
	catalog_destroy(one);
	assert_memory_equal(pushed.payload.module_bytes.data, twice.data, twice.size);
	catalog_destroy(other);
}

static void all_callables_can_be_gone_through_in_order(void **state)
{
	struct catalog *catalog = make_default();
	struct catalog_entry entry, dropped;
	uint64_t expected[] = { 1, 2, 4, 5 }, after = 0;

	(void)state;
	for (uint32_t i = 1; i <= 5; i++)
		assert_int_equal(push_number(catalog, ID + i % 2, i, i == 3 ? &dropped : &entry),
		                 SIMPLER_OK);
	catalog_settle(catalog, 1, true);
	catalog_settle(catalog, dropped.key, false);
	for (size_t i = 0; i < 4; i++) {
		assert_true(next(catalog, after, &entry));
		assert_true(entry.key == expected[i]);
		after = entry.key;
	}
	assert_false(next(catalog, after, &entry));
	assert_true(next(catalog, dropped.key, &entry));
	assert_true(entry.key == 4);
	catalog_destroy(catalog);
}

/* --- several threads --- */

#define THREADS 4
#define ROUNDS  40

struct crowd {
	struct catalog *catalog;
	pthread_barrier_t start;
	pthread_mutex_t lock;
	unsigned fresh[ROUNDS]; /* under the lock: how often each was made known */
};

/* Everybody pushes the same callables; whoever made one known settles it. Every third fails once,
 * so that it may be made known several times. */
static void *push_and_find(void *argument)
{
	struct crowd *crowd = argument;

	(void)pthread_barrier_wait(&crowd->start);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct payload payload = describe(&i);
		struct catalog_entry entry, found;
		bool fresh, fails = false;

		if (push(crowd->catalog, ID, 0, &payload, &entry, &fresh))
			return "a push failed";
		if (fresh) {
			pthread_mutex_lock(&crowd->lock);
			fails = crowd->fresh[i]++ == 0 && i % 3 == 0;
			pthread_mutex_unlock(&crowd->lock);
			catalog_settle(crowd->catalog, entry.key, !fails);
		}
		if (fresh && !fails && find(crowd->catalog, ID, entry.version, &found))
			return "what was settled is not found";
		for (uint64_t after = 0; next(crowd->catalog, after, &found);)
			after = found.key;
	}
	return NULL;
}

static void threads_push_the_same_callables_at_once(void **state)
{
	struct crowd crowd = { .catalog = make(ROUNDS, 1, twice.size) };
	pthread_t threads[THREADS];

	(void)state;
	(void)pthread_mutex_init(&crowd.lock, NULL);
	(void)pthread_barrier_init(&crowd.start, NULL, THREADS);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, push_and_find, &crowd), 0);
	for (size_t i = 0; i < THREADS; i++) {
		void *failure;

		assert_int_equal(pthread_join(threads[i], &failure), 0);
		assert_null(failure);
	}
	for (uint32_t i = 0; i < ROUNDS; i++)
		assert_true(crowd.fresh[i] >= 1 && crowd.fresh[i] <= (i % 3 == 0 ? 2 : 1));
	(void)pthread_barrier_destroy(&crowd.start);
	(void)pthread_mutex_destroy(&crowd.lock);
	catalog_destroy(crowd.catalog);
}

/* The trust directory's list names the module; or nothing, with NULL. */
static void revoke(const struct temporary_directory *trust, const struct digest *module)
{
	char text[DIGEST_HEX_BYTES + 16] = "", hex[DIGEST_HEX_BYTES];

	if (module) {
		digest_hex(module, hex);
		(void)snprintf(text, sizeof(text), "module %s\n", hex);
	}
	assert_true(temporary_write(trust, "revoked", text));
	assert_int_equal(chmod(temporary_path(trust, "revoked"), 0644), 0);
}

static void R18_what_the_policy_does_not_allow_any_more_is_withdrawn(void **state)
{
	struct catalog_options options = CATALOG_OPTIONS_INIT;
	struct temporary_directory trust;
	struct policy *policy;
	struct catalog *catalog;
	struct catalog_entry pinned, again, found;

	(void)state;
	assert_true(temporary_directory_make(&trust));
	assert_int_equal(policy_create(POLICY_ANY, trust.path, &policy), SIMPLER_OK);
	catalog = catalog_create(&options, policy);
	assert_non_null(catalog);
	(void)install(catalog, ID, 1);
	(void)install(catalog, ID + 1, 2);
	assert_int_equal(catalog_find(catalog, ID, 0, &pinned), SIMPLER_OK);
	assert_int_equal(catalog_recheck(catalog), 0);

	/* A mistake in the list lets nobody in, and throws nobody out. */
	assert_true(temporary_write(&trust, "revoked", "everything\n"));
	assert_int_equal(catalog_recheck(catalog), 0);
	assert_int_equal(find(catalog, ID, 0, &found), SIMPLER_OK);
	assert_int_equal(push_number(catalog, ID, 1, &found), SIMPLER_EPERM);

	revoke(&trust, &pinned.payload.origin.module);
	assert_int_equal(catalog_recheck(catalog), 2);
	/* Both the one that a task still runs, and the one that is gone at once. */
	for (uint64_t id = ID; id <= ID + 1; id++) {
		assert_int_equal(find(catalog, id, 0, &found), SIMPLER_EPERM);
		assert_non_null(strstr(simpler_last_error(), "was revoked"));
		assert_int_equal(catalog_commit(catalog, 0, id, 0), SIMPLER_EPERM);
	}
	assert_true(catalog_get(catalog, pinned.key, &found));
	assert_int_equal(catalog_recheck(catalog), 0);
	catalog_unpin(catalog, pinned.key);
	assert_false(catalog_get(catalog, pinned.key, &found));
	assert_int_equal(find(catalog, ID, pinned.version, &found), SIMPLER_EPERM);

	/* It was a mistake. */
	revoke(&trust, NULL);
	again = install(catalog, ID, 1);
	assert_int_equal(find(catalog, ID, 0, &found), SIMPLER_OK);
	assert_int_equal(found.key, again.key);
	catalog_destroy(catalog);
	policy_destroy(policy);
	temporary_directory_remove(&trust);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_push_is_pending_then_visible),
		cmocka_unit_test(a_failed_install_leaves_nothing_behind),
		cmocka_unit_test(
			one_that_failed_is_new_when_it_is_pushed_again_though_it_is_pinned),
		cmocka_unit_test(pushing_again_changes_nothing),
		cmocka_unit_test(a_visible_callable_stays),
		cmocka_unit_test(a_module_can_be_named_by_digest_once_it_is_known),
		cmocka_unit_test(a_module_outlives_its_last_callable_until_its_room_is_needed),
		cmocka_unit_test(the_module_is_a_descriptor_that_nobody_can_change),
		cmocka_unit_test(the_newest_version_is_the_one_pushed_last),
		cmocka_unit_test(R09_the_newest_comes_with_its_version_and_digest),
		cmocka_unit_test(a_wrong_version_is_told_the_right_ones),
		cmocka_unit_test(bad_offers_are_refused_with_the_reason),
		cmocka_unit_test(limits_are_told),
		cmocka_unit_test(module_bytes_are_limited_in_all),
		cmocka_unit_test(what_engines_keep_dying_of_is_gone_at_the_third_time_in_a_row),
		cmocka_unit_test(what_is_pulled_from_one_node_can_be_pushed_to_another),
		cmocka_unit_test(all_callables_can_be_gone_through_in_order),
		cmocka_unit_test(R18_what_the_policy_does_not_allow_any_more_is_withdrawn),
		cmocka_unit_test(threads_push_the_same_callables_at_once),
	};

	return cmocka_run_group_tests(tests, read_modules, drop_policy);
}
