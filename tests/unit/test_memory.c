#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/memory.h"

#define PAGE 4096

static int make(uint64_t bytes)
{
	int fd;

	assert_int_equal(memory_create("test", bytes, &fd), SIMPLER_OK);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	return fd;
}

static uint8_t *map(int fd, uint64_t bytes)
{
	void *base;

	assert_int_equal(memory_map(fd, bytes, &base), SIMPLER_OK);
	return base;
}

static uint64_t committed(int fd)
{
	struct stat about;

	assert_int_equal(fstat(fd, &about), 0);
	return (uint64_t)about.st_blocks * 512;
}

static void mappings_share_their_bytes(void **state)
{
	int fd = make(2 * PAGE);
	uint8_t *one = map(fd, 2 * PAGE), *two = map(fd, 2 * PAGE);
	uint64_t bytes;

	(void)state;
	assert_int_equal(memory_size(fd, &bytes), SIMPLER_OK);
	assert_int_equal(bytes, 2 * PAGE);
	assert_int_equal(one[PAGE], 0);
	one[PAGE] = 7;
	assert_int_equal(two[PAGE], 7);
	memory_unmap(one, 2 * PAGE);
	memory_unmap(two, 2 * PAGE);
	(void)close(fd);
}

static void nobody_changes_the_size(void **state)
{
	int fd = make(2 * PAGE);

	(void)state;
	assert_int_equal(ftruncate(fd, PAGE), -1);
	assert_int_equal(ftruncate(fd, 3 * PAGE), -1);
	(void)close(fd);
}

static void what_is_shared_to_be_written_cannot_be_sealed(void **state)
{
	int fd = make(PAGE);

	(void)state;
	assert_int_equal(memory_seal(fd), SIMPLER_ESYSTEM);
	memory_unmap(map(fd, PAGE), PAGE);
	(void)close(fd);
}

static void an_image_is_sealed(void **state)
{
	uint8_t bytes[5000], byte = 1;
	void *base;
	int fd;

	(void)state;
	memset(bytes, 0x5a, sizeof(bytes));
	assert_int_equal(memory_create_image("test", sizeof(bytes), &fd), SIMPLER_OK);
	assert_int_equal(memory_write(fd, 0, bytes, 3000), SIMPLER_OK);
	assert_int_equal(memory_write(fd, 3000, bytes + 3000, sizeof(bytes) - 3000), SIMPLER_OK);
	assert_int_equal(memory_seal(fd), SIMPLER_OK);
	assert_int_equal(write(fd, &byte, 1), -1);
	assert_int_equal(memory_map(fd, sizeof(bytes), &base), SIMPLER_ESYSTEM);
	assert_int_equal(memory_map_readable(fd, sizeof(bytes), &base), SIMPLER_OK);
	assert_memory_equal(base, bytes, sizeof(bytes));
	memory_unmap(base, sizeof(bytes));
	(void)close(fd);
}

static void pages_are_committed_and_given_back(void **state)
{
	int fd = make(64 * PAGE);
	uint8_t *base = map(fd, 64 * PAGE);

	(void)state;
	assert_int_equal(committed(fd), 0);
	assert_int_equal(memory_commit(fd, PAGE, 4 * PAGE), SIMPLER_OK);
	assert_int_equal(committed(fd), 4 * PAGE);
	memset(base + PAGE, 9, 4 * PAGE);
	assert_int_equal(memory_commit(fd, 0, 8 * PAGE), SIMPLER_OK);
	assert_int_equal(base[PAGE], 9); /* it keeps its content */
	assert_int_equal(memory_punch(fd, PAGE, 2 * PAGE), SIMPLER_OK);
	assert_int_equal(committed(fd), 6 * PAGE);
	assert_int_equal(base[PAGE], 0);
	assert_int_equal(base[3 * PAGE], 9);
	assert_int_equal(memory_commit(fd, 0, 0), SIMPLER_OK);
	assert_int_equal(memory_punch(fd, 0, 0), SIMPLER_OK);
	memory_unmap(base, 64 * PAGE);
	(void)close(fd);
}

static void sizes_that_wrap_are_refused(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(memory_create("test", UINT64_MAX, &fd), SIMPLER_EINVAL);
	fd = make(PAGE);
	assert_int_equal(memory_commit(fd, UINT64_MAX, 2), SIMPLER_EINVAL);
	assert_int_equal(memory_commit(fd, INT64_MAX, 2), SIMPLER_EINVAL);
	assert_int_equal(memory_punch(fd, 2, INT64_MAX), SIMPLER_EINVAL);
	(void)close(fd);
}

/* Sanitizers have a malloc of their own. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static long faults(void)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
	return usage.ru_minflt;
}

/* As the parts of messages are: some megabytes at a time. */
static void fill_and_free(void)
{
	enum { BLOCKS = 6, BYTES = 1 << 20 };
	char *blocks[BLOCKS];

	for (int i = 0; i < BLOCKS; i++) {
		blocks[i] = malloc(BYTES);
		assert_non_null(blocks[i]);
		memset(blocks[i], 1, BYTES);
	}
	for (int i = 0; i < BLOCKS; i++)
		free(blocks[i]);
}

static void memory_of_messages_is_not_faulted_in_anew(void **state)
{
	long before;

	(void)state;
	memory_keep_freed();
	fill_and_free();
	fill_and_free();
	before = faults();
	for (int i = 0; i < 10; i++)
		fill_and_free();
	/* All of it would be 15360. */
	assert_true(faults() - before < 1024);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mappings_share_their_bytes),
		cmocka_unit_test(nobody_changes_the_size),
		cmocka_unit_test(what_is_shared_to_be_written_cannot_be_sealed),
		cmocka_unit_test(an_image_is_sealed),
		cmocka_unit_test(pages_are_committed_and_given_back),
		cmocka_unit_test(sizes_that_wrap_are_refused),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
		cmocka_unit_test(memory_of_messages_is_not_faulted_in_anew),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
