/* What a node keeps of modules: each once, for as long as it is used or there is room, and on disk
 * what is whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog/module_disk.h"
#include "catalog/module_read.h"
#include "catalog/module_store.h"
#include "simpler/callable.h"
#include "temporary_directory.h"
#include "test_modules.h"

#define COUNT 4
#define LARGE (UINT64_C(1) << 32)

/* The same code in files of one length, told apart by what follows the sections. */
static struct sample {
	simpler_bytes bytes;
	struct digest digest;
} samples[COUNT];

static int set_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT; i++) {
		uint8_t *bytes;
		size_t size;

		if (module_read(TEST_MODULES_DIR "/twice.so", &bytes, &size))
			return 1;
		bytes = realloc(bytes, size + 1);
		if (!bytes)
			return 1;
		bytes[size] = (uint8_t)i;
		samples[i].bytes = (simpler_bytes){ bytes, size + 1 };
		if (digest_compute(bytes, size + 1, &samples[i].digest))
			return 1;
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT; i++)
		free((void *)(uintptr_t)samples[i].bytes.data);
	return 0;
}

static uint64_t size_of_all(size_t count)
{
	return count * samples[0].bytes.size;
}

static struct module_store *make(size_t modules, uint64_t bytes, const char *directory)
{
	const struct module_store_options options = {
		.modules = modules,
		.bytes = bytes,
		.uploads = 2,
		.directory = directory,
		.directory_bytes = LARGE,
	};
	struct module_store *store;

	assert_int_equal(module_store_create(&options, &store), SIMPLER_OK);
	return store;
}

/* With its bytes, or else by digest. */
static const struct stored_module *use(struct module_store *store, size_t i, bool whole,
                                       simpler_status expected)
{
	const struct stored_module *stored = NULL;

	assert_int_equal(module_store_use(store, &samples[i].digest,
	                                  whole ? samples[i].bytes : simpler_no_state(), &stored),
	                 expected);
	return stored;
}

static void put(struct module_store *store, size_t i)
{
	module_store_leave(store, use(store, i, true, SIMPLER_OK));
}

static bool has(struct module_store *store, size_t i)
{
	const struct stored_module *stored;

	if (module_store_use(store, &samples[i].digest, simpler_no_state(), &stored))
		return false;
	assert_int_equal(stored->bytes.size, samples[i].bytes.size);
	assert_memory_equal(stored->bytes.data, samples[i].bytes.data, stored->bytes.size);
	module_store_leave(store, stored);
	return true;
}

/* --- in memory --- */

static void a_module_is_there_once_however_many_use_it(void **state)
{
	struct module_store *store = make(1, size_of_all(1), NULL);
	const struct stored_module *first = use(store, 0, true, SIMPLER_OK);

	(void)state;
	assert_ptr_equal(use(store, 0, true, SIMPLER_OK), first);
	assert_ptr_equal(use(store, 0, false, SIMPLER_OK), first);
	assert_int_equal(first->file.count, 2);
	for (size_t i = 0; i < 3; i++)
		module_store_leave(store, first);
	assert_true(has(store, 0));
	module_store_destroy(store);
}

static void the_least_recently_used_makes_room(void **state)
{
	static const struct {
		const char *limit;
		size_t modules, bytes;
	} limits[] = { { "count", 2, COUNT }, { "bytes", COUNT, 2 } };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct module_store *store =
			make(limits[i].modules, size_of_all(limits[i].bytes), NULL);

		put(store, 0);
		put(store, 1);
		assert_true(has(store, 0)); /* which is a use */
		put(store, 2);
		assert_false(has(store, 1));
		assert_true(has(store, 0));
		assert_true(has(store, 2));
		put(store, 3);
		assert_false(has(store, 0));
		module_store_destroy(store);
	}
}

static void what_is_in_use_makes_no_room(void **state)
{
	struct module_store *store = make(2, size_of_all(COUNT), NULL);
	const struct stored_module *used = use(store, 0, true, SIMPLER_OK), *other;

	(void)state;
	put(store, 1);
	other = use(store, 2, true, SIMPLER_OK);
	assert_false(has(store, 1));
	(void)use(store, 3, true, SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), "2 modules are in use"));
	module_store_leave(store, other);
	put(store, 3);
	assert_true(has(store, 0));
	module_store_leave(store, used);
	module_store_destroy(store);
}

static void no_room_names_what_was_asked_and_used_and_the_limit(void **state)
{
	struct module_store *store = make(COUNT, size_of_all(2) - 1, NULL);
	const struct stored_module *used = use(store, 0, true, SIMPLER_OK);
	char expected[64];

	(void)state;
	(void)use(store, 1, true, SIMPLER_ENOSPACE);
	(void)snprintf(expected, sizeof(expected), "a module of %zu bytes", samples[1].bytes.size);
	assert_non_null(strstr(simpler_last_error(), expected));
	(void)snprintf(expected, sizeof(expected), "in use with %zu bytes", samples[0].bytes.size);
	assert_non_null(strstr(simpler_last_error(), expected));
	(void)snprintf(expected, sizeof(expected), "%d with %llu", COUNT,
	               (unsigned long long)size_of_all(2) - 1);
	assert_non_null(strstr(simpler_last_error(), expected));
	module_store_leave(store, used);
	module_store_destroy(store);
}

static void one_that_never_fits_drives_nobody_out(void **state)
{
	struct module_store *store = make(COUNT, samples[0].bytes.size - 1, NULL);

	(void)state;
	(void)use(store, 0, true, SIMPLER_ENOSPACE);
	module_store_destroy(store);
	store = make(COUNT, size_of_all(1), NULL);
	put(store, 0);
	assert_int_equal(module_upload_begin(store, &samples[1].digest, size_of_all(2),
	                                     &(struct module_upload *){ NULL }),
	                 SIMPLER_ENOSPACE);
	assert_true(has(store, 0));
	module_store_destroy(store);
}

static void what_is_no_module_is_not_kept(void **state)
{
	struct module_store *store = make(1, size_of_all(1), NULL);
	const simpler_bytes text = { "no module", 9 };
	const struct stored_module *stored;
	struct digest digest;

	(void)state;
	assert_int_equal(digest_compute(text.data, text.size, &digest), SIMPLER_OK);
	assert_int_equal(module_store_use(store, &digest, text, &stored), SIMPLER_EINVAL);
	assert_int_equal(module_store_use(store, &digest, simpler_no_state(), &stored),
	                 SIMPLER_ENOTFOUND);
	assert_int_equal(module_store_use(store, &samples[1].digest, samples[0].bytes, &stored),
	                 SIMPLER_EINVAL);
	put(store, 0);
	module_store_destroy(store);
}

/* --- uploads --- */

static struct module_upload *begin(struct module_store *store, size_t i)
{
	struct module_upload *upload;

	assert_int_equal(
		module_upload_begin(store, &samples[i].digest, samples[i].bytes.size, &upload),
		SIMPLER_OK);
	return upload;
}

static simpler_status add(struct module_upload *upload, size_t i, size_t from, size_t to)
{
	const uint8_t *bytes = samples[i].bytes.data;

	return module_upload_add(upload, from, (simpler_bytes){ bytes + from, to - from });
}

static void an_upload_becomes_a_module_when_it_is_complete(void **state)
{
	struct module_store *store = make(1, size_of_all(1), NULL);
	struct module_upload *upload = begin(store, 0);
	size_t size = samples[0].bytes.size;

	(void)state;
	assert_int_equal(add(upload, 0, 0, 0), SIMPLER_OK);
	assert_int_equal(add(upload, 0, 0, 1000), SIMPLER_OK);
	assert_int_equal(add(upload, 0, 1000, 1000), SIMPLER_OK);
	assert_false(has(store, 0));
	assert_int_equal(add(upload, 0, 1000, size), SIMPLER_OK);
	assert_int_equal(module_upload_end(upload), SIMPLER_OK);
	assert_true(has(store, 0));
	assert_null(begin(store, 0)); /* it is known */
	module_store_destroy(store);
}

/* What comes, and whether all of it is taken; then what the end says. */
static const struct {
	const char *name;
	size_t sample, from, to;
	simpler_status status, end;
} uploads[] = {
	{ "short", 0, 0, 1000, SIMPLER_OK, SIMPLER_EINVAL },
	{ "empty", 0, 0, 0, SIMPLER_OK, SIMPLER_EINVAL },
	{ "with a gap", 0, 1, 1000, SIMPLER_EINVAL, SIMPLER_EINVAL },
	{ "of another", 1, 0, SIZE_MAX, SIMPLER_OK, SIMPLER_EINVAL },
};

static void an_upload_that_is_not_what_was_announced_leaves_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(uploads) / sizeof(uploads[0]); i++) {
		struct module_store *store = make(1, size_of_all(1), NULL);
		struct module_upload *upload = begin(store, 0);
		size_t to = uploads[i].to == SIZE_MAX ? samples[0].bytes.size : uploads[i].to;

		assert_int_equal(add(upload, uploads[i].sample, uploads[i].from, to),
		                 uploads[i].status);
		assert_int_equal(module_upload_end(upload), uploads[i].end);
		assert_false(has(store, 0));
		put(store, 2);
		module_store_destroy(store);
	}
}

static void an_upload_takes_no_more_than_it_announced(void **state)
{
	struct module_store *store = make(1, size_of_all(1), NULL);
	struct module_upload *upload = begin(store, 0);
	size_t size = samples[0].bytes.size;

	(void)state;
	assert_int_equal(add(upload, 0, 0, size), SIMPLER_OK);
	assert_int_equal(module_upload_add(upload, size, (simpler_bytes){ "x", 1 }),
	                 SIMPLER_EINVAL);
	assert_int_equal(module_upload_end(upload), SIMPLER_OK);
	assert_int_equal(module_upload_begin(store, &samples[1].digest, 0, &upload),
	                 SIMPLER_EINVAL);
	assert_int_equal(module_upload_begin(store, &samples[1].digest, UINT64_MAX, &upload),
	                 SIMPLER_EINVAL);
	module_store_destroy(store);
}

static void uploads_have_their_room_from_the_beginning(void **state)
{
	struct module_store *store = make(COUNT, size_of_all(2), NULL);
	struct module_upload *one, *two, *more;

	(void)state;
	put(store, 3);
	one = begin(store, 0);
	two = begin(store, 1);
	assert_false(has(store, 3));
	(void)use(store, 3, true, SIMPLER_ENOSPACE);
	assert_int_equal(module_upload_begin(store, &samples[2].digest, 1, &more),
	                 SIMPLER_ENOSPACE);
	assert_non_null(strstr(simpler_last_error(), "2 modules are being uploaded"));
	module_upload_drop(one);
	put(store, 3);
	module_upload_drop(two);
	one = begin(store, 0);
	module_upload_drop(one);
	module_store_destroy(store);
}

static void the_same_module_by_two_uploads_at_once_is_there_once(void **state)
{
	struct module_store *store = make(2, size_of_all(2), NULL);
	struct module_upload *one = begin(store, 0), *two = begin(store, 0);

	(void)state;
	assert_int_equal(add(one, 0, 0, samples[0].bytes.size), SIMPLER_OK);
	assert_int_equal(add(two, 0, 0, samples[0].bytes.size), SIMPLER_OK);
	assert_int_equal(module_upload_end(two), SIMPLER_OK);
	assert_int_equal(module_upload_end(one), SIMPLER_OK);
	put(store, 1);
	assert_true(has(store, 0)); /* there was room for both */
	module_store_destroy(store);
}

static void a_file_is_a_module_under_the_digest_that_it_has(void **state)
{
	struct module_store *store = make(1, size_of_all(1), NULL);
	const struct stored_module *stored, *again;
	int fd = open(TEST_MODULES_DIR "/twice.so", O_RDONLY | O_CLOEXEC);
	int none = open(TEST_MODULES_DIR, O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(module_store_use_file(store, fd, "twice", &stored), SIMPLER_OK);
	assert_int_equal(stored->bytes.size, samples[0].bytes.size - 1);
	assert_memory_equal(stored->bytes.data, samples[0].bytes.data, stored->bytes.size);
	assert_int_equal(module_store_use_file(store, fd, "twice", &again), SIMPLER_OK);
	assert_ptr_equal(again, stored); /* there is no room for it twice */
	module_store_leave(store, stored);
	module_store_leave(store, again);
	assert_int_equal(module_store_use_file(store, none, "none", &stored), SIMPLER_EINVAL);
	(void)close(fd);
	(void)close(none);
	module_store_destroy(store);
}

/* Reading these holes would take hours, and a node answers nobody while it reads. */
static void a_file_that_is_too_large_is_not_read(void **state)
{
	static const off_t sizes[] = { (off_t)MODULE_MAX_BYTES + 1, (off_t)1 << 40 };
	struct module_store *store = make(1, size_of_all(1), NULL);
	FILE *file = tmpfile();

	(void)state;
	assert_non_null(file);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const struct stored_module *stored;

		assert_int_equal(ftruncate(fileno(file), sizes[i]), 0);
		assert_int_equal(module_store_use_file(store, fileno(file), "holes", &stored),
		                 SIMPLER_EINVAL);
		assert_non_null(strstr(simpler_last_error(), "'holes' cannot be a module"));
	}
	(void)fclose(file);
	module_store_destroy(store);
}

/* --- on disk --- */

struct on_disk {
	struct temporary_directory directory;
};

static void make_directory(struct on_disk *on_disk)
{
	assert_true(temporary_directory_make(&on_disk->directory));
}

static const char *place_of(const struct on_disk *on_disk, size_t i)
{
	char text[DIGEST_HEX_BYTES], place[DIGEST_HEX_BYTES + 3];

	digest_hex(&samples[i].digest, text);
	(void)snprintf(place, sizeof(place), "%.2s/%s", text, text);
	return temporary_path(&on_disk->directory, place);
}

static bool is_saved(const struct on_disk *on_disk, size_t i)
{
	return access(place_of(on_disk, i), F_OK) == 0;
}

static void remove_directory(struct on_disk *on_disk)
{
	for (size_t i = 0; i < COUNT; i++) {
		char shelf[512];

		(void)unlink(place_of(on_disk, i));
		(void)snprintf(shelf, sizeof(shelf), "%s", place_of(on_disk, i));
		*strrchr(shelf, '/') = '\0';
		(void)rmdir(shelf);
	}
	temporary_directory_remove(&on_disk->directory);
}

static void what_was_there_is_there_after_a_restart(void **state)
{
	struct on_disk on_disk;
	struct module_store *store;
	struct module_upload *upload;

	(void)state;
	make_directory(&on_disk);
	store = make(COUNT, LARGE, on_disk.directory.path);
	put(store, 0);
	upload = begin(store, 1);
	assert_int_equal(add(upload, 1, 0, samples[1].bytes.size), SIMPLER_OK);
	assert_int_equal(module_upload_end(upload), SIMPLER_OK);
	module_store_destroy(store);
	store = make(1, size_of_all(1), on_disk.directory.path);
	assert_true(has(store, 0));
	assert_true(has(store, 1)); /* one at a time, as there is no room for both */
	assert_true(has(store, 0));
	assert_false(has(store, 2));
	module_store_destroy(store);
	remove_directory(&on_disk);
}

static void overwrite(const char *path, const void *bytes, size_t size)
{
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static void what_is_damaged_counts_as_absent_and_is_removed(void **state)
{
	const size_t size = samples[0].bytes.size;
	const struct {
		simpler_bytes content;
	} damages[] = {
		{ { "", 0 } },
		{ { samples[0].bytes.data, size - 1 } },
		{ { samples[1].bytes.data, size } },
		{ { "text", 4 } },
	};
	struct on_disk on_disk;

	(void)state;
	make_directory(&on_disk);
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		struct module_store *store = make(1, LARGE, on_disk.directory.path);

		put(store, 0);
		module_store_destroy(store);
		overwrite(place_of(&on_disk, 0), damages[i].content.data, damages[i].content.size);
		store = make(1, LARGE, on_disk.directory.path);
		assert_false(has(store, 0));
		assert_false(is_saved(&on_disk, 0));
		put(store, 0);
		module_store_destroy(store);
		assert_true(is_saved(&on_disk, 0));
	}
	remove_directory(&on_disk);
}

static void what_cannot_be_read_back_for_want_of_room_stays_on_disk(void **state)
{
	struct on_disk on_disk;
	struct module_store *store;
	const struct stored_module *used;

	(void)state;
	make_directory(&on_disk);
	store = make(COUNT, LARGE, on_disk.directory.path);
	put(store, 0);
	put(store, 1);
	module_store_destroy(store);
	store = make(1, LARGE, on_disk.directory.path);
	used = use(store, 1, false, SIMPLER_OK);
	(void)use(store, 0, false, SIMPLER_ENOSPACE);
	module_store_leave(store, used);
	assert_true(has(store, 0));
	module_store_destroy(store);
	remove_directory(&on_disk);
}

static struct module_disk *open_disk(const struct on_disk *on_disk, uint64_t limit)
{
	struct module_disk *disk;

	assert_int_equal(module_disk_open(on_disk->directory.path, limit, &disk), SIMPLER_OK);
	return disk;
}

static void save(struct module_disk *disk, size_t i)
{
	assert_int_equal(module_disk_save(disk, &samples[i].digest, samples[i].bytes), SIMPLER_OK);
}

/* As if it had been used so many seconds after all time began. */
static void set_use(const struct on_disk *on_disk, size_t i, time_t seconds)
{
	const struct timespec times[2] = { { seconds, 0 }, { seconds, 0 } };

	assert_int_equal(utimensat(AT_FDCWD, place_of(on_disk, i), times, 0), 0);
}

static void the_least_recently_used_makes_room_on_disk(void **state)
{
	struct on_disk on_disk;
	struct module_disk *disk;
	uint64_t size;
	int fd;

	(void)state;
	make_directory(&on_disk);
	disk = open_disk(&on_disk, size_of_all(2));
	save(disk, 0);
	save(disk, 1);
	set_use(&on_disk, 0, 1000);
	set_use(&on_disk, 1, 2000);
	assert_true(module_disk_find(disk, &samples[0].digest, &fd, &size)); /* which is a use */
	(void)close(fd);
	save(disk, 2);
	assert_true(is_saved(&on_disk, 0));
	assert_false(is_saved(&on_disk, 1));
	assert_true(is_saved(&on_disk, 2));
	module_disk_close(disk);
	disk = open_disk(&on_disk, size_of_all(1) - 1);
	assert_int_equal(module_disk_save(disk, &samples[3].digest, samples[3].bytes),
	                 SIMPLER_ENOSPACE);
	assert_true(is_saved(&on_disk, 0)); /* it would not have been enough */
	module_disk_close(disk);
	remove_directory(&on_disk);
}

static void what_dead_writers_left_behind_is_removed(void **state)
{
	struct on_disk on_disk;
	int writer;

	(void)state;
	make_directory(&on_disk);
	assert_true(temporary_write(&on_disk.directory, "tmp-dead", "half of a"));
	assert_true(temporary_write(&on_disk.directory, "tmp-alive", "half of a"));
	writer = open(temporary_path(&on_disk.directory, "tmp-alive"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(flock(writer, LOCK_EX | LOCK_NB), 0);
	module_disk_close(open_disk(&on_disk, LARGE));
	assert_int_not_equal(access(temporary_path(&on_disk.directory, "tmp-dead"), F_OK), 0);
	assert_int_equal(access(temporary_path(&on_disk.directory, "tmp-alive"), F_OK), 0);
	(void)close(writer);
	module_disk_close(open_disk(&on_disk, LARGE));
	assert_int_not_equal(access(temporary_path(&on_disk.directory, "tmp-alive"), F_OK), 0);
	remove_directory(&on_disk);
}

static void a_directory_that_cannot_be_used_is_told(void **state)
{
	struct on_disk on_disk;
	struct module_disk *disk;
	const char *path;

	(void)state;
	make_directory(&on_disk);
	assert_true(temporary_write(&on_disk.directory, "file", "text"));
	path = temporary_path(&on_disk.directory, "file");
	assert_int_equal(module_disk_open(path, LARGE, &disk), SIMPLER_ESYSTEM);
	assert_non_null(strstr(simpler_last_error(), path));
	path = temporary_path(&on_disk.directory, "no/such");
	assert_int_equal(module_disk_open(path, LARGE, &disk), SIMPLER_ESYSTEM);
	assert_int_equal(module_disk_open("/proc", LARGE, &disk), SIMPLER_ESYSTEM);
	assert_non_null(strstr(simpler_last_error(), "cannot create files"));
	remove_directory(&on_disk);
}

static void a_store_goes_on_when_its_directory_fails(void **state)
{
	struct on_disk on_disk;
	struct module_store *store;

	(void)state;
	make_directory(&on_disk);
	store = make(COUNT, LARGE, on_disk.directory.path);
	temporary_directory_remove(&on_disk.directory);
	put(store, 0);
	assert_true(has(store, 0));
	assert_false(has(store, 1));
	module_store_destroy(store);
}

/* --- several threads --- */

#define THREADS 3
#define ROUNDS  200

static void *use_all(void *context)
{
	struct module_store *store = context;
	const struct stored_module *stored;

	for (size_t i = 0; i < ROUNDS; i++) {
		const struct sample *sample = &samples[i % COUNT];

		if (module_store_use(store, &sample->digest, sample->bytes, &stored))
			return "a module is not taken";
		if (memcmp(stored->bytes.data, sample->bytes.data, sample->bytes.size) != 0)
			return "it is another one";
		module_store_leave(store, stored);
	}
	return NULL;
}

static void threads_use_more_modules_than_there_is_room_for(void **state)
{
	/* One in use by each of the other threads, and one more. */
	struct module_store *store = make(THREADS, LARGE, NULL);
	pthread_t threads[THREADS];

	(void)state;
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_all, store), 0);
	for (size_t i = 0; i < THREADS; i++) {
		void *failure;

		assert_int_equal(pthread_join(threads[i], &failure), 0);
		assert_null(failure);
	}
	module_store_destroy(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_module_is_there_once_however_many_use_it),
		cmocka_unit_test(the_least_recently_used_makes_room),
		cmocka_unit_test(what_is_in_use_makes_no_room),
		cmocka_unit_test(no_room_names_what_was_asked_and_used_and_the_limit),
		cmocka_unit_test(one_that_never_fits_drives_nobody_out),
		cmocka_unit_test(what_is_no_module_is_not_kept),
		cmocka_unit_test(an_upload_becomes_a_module_when_it_is_complete),
		cmocka_unit_test(an_upload_that_is_not_what_was_announced_leaves_nothing),
		cmocka_unit_test(an_upload_takes_no_more_than_it_announced),
		cmocka_unit_test(uploads_have_their_room_from_the_beginning),
		cmocka_unit_test(the_same_module_by_two_uploads_at_once_is_there_once),
		cmocka_unit_test(a_file_is_a_module_under_the_digest_that_it_has),
		cmocka_unit_test(a_file_that_is_too_large_is_not_read),
		cmocka_unit_test(what_was_there_is_there_after_a_restart),
		cmocka_unit_test(what_is_damaged_counts_as_absent_and_is_removed),
		cmocka_unit_test(what_cannot_be_read_back_for_want_of_room_stays_on_disk),
		cmocka_unit_test(the_least_recently_used_makes_room_on_disk),
		cmocka_unit_test(what_dead_writers_left_behind_is_removed),
		cmocka_unit_test(a_directory_that_cannot_be_used_is_told),
		cmocka_unit_test(a_store_goes_on_when_its_directory_fails),
		cmocka_unit_test(threads_use_more_modules_than_there_is_room_for),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
