#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/descriptor.h"
#include "os/socket.h"

struct received {
	char bytes[16];
	size_t size;
	int fds[4];
	size_t fd_count;
};

static int setup(void **state)
{
	static int ends[2];

	*state = ends;
	return socket_pair(ends) == SIMPLER_OK ? 0 : -1;
}

static int teardown(void **state)
{
	int *ends = *state;

	for (int i = 0; i < 2; i++) {
		if (ends[i] >= 0)
			(void)close(ends[i]);
	}
	return 0;
}

static simpler_status receive(int socket, size_t fd_capacity, struct received *out)
{
	return socket_receive(socket, out->bytes, sizeof(out->bytes), &out->size, out->fds,
	                      fd_capacity, &out->fd_count);
}

/* The lowest free descriptor: it stays the same when none was left open. */
static int next_descriptor(void)
{
	int fd = open("/dev/null", O_RDONLY);

	assert_true(fd >= 0);
	(void)close(fd);
	return fd;
}

static void datagrams_stay_whole_and_in_order(void **state)
{
	int *ends = *state;
	struct received got;

	assert_int_equal(socket_send(ends[0], "one", 3, NULL, 0), SIMPLER_OK);
	assert_int_equal(socket_send(ends[0], "second", 6, NULL, 0), SIMPLER_OK);
	assert_int_equal(receive(ends[1], 0, &got), SIMPLER_OK);
	assert_int_equal(got.size, 3);
	assert_memory_equal(got.bytes, "one", 3);
	assert_int_equal(receive(ends[1], 0, &got), SIMPLER_OK);
	assert_int_equal(got.size, 6);
	assert_int_equal(got.fd_count, 0);
}

static void descriptors_come_beside_the_bytes(void **state)
{
	int *ends = *state, pipe_ends[2];
	struct received got;
	char byte = 0;

	assert_int_equal(pipe(pipe_ends), 0);
	assert_int_equal(socket_send(ends[0], "x", 1, pipe_ends, 2), SIMPLER_OK);
	assert_int_equal(receive(ends[1], 4, &got), SIMPLER_OK);
	assert_int_equal(got.fd_count, 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fcntl(got.fds[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		assert_int_not_equal(got.fds[i], pipe_ends[i]);
	}
	assert_int_equal(write(got.fds[1], "y", 1), 1);
	assert_int_equal(read(pipe_ends[0], &byte, 1), 1);
	assert_int_equal(byte, 'y');
	for (int i = 0; i < 2; i++) {
		(void)close(got.fds[i]);
		(void)close(pipe_ends[i]);
	}
}

static const struct {
	const char *name;
	size_t size, fds, fd_capacity;
} refused[] = {
	{ "too many bytes", 17, 0, 0 },
	{ "too many bytes, with descriptors", 17, 2, 4 },
	{ "a descriptor where none may be", 1, 1, 0 },
	{ "two where one may be", 1, 2, 1 },
	{ "four where three may be", 1, 4, 3 },
};

static void what_does_not_fit_is_refused_and_leaves_nothing(void **state)
{
	int *ends = *state, before = next_descriptor();
	const int fds[4] = { 0, 0, 0, 0 };
	const char bytes[17] = "0123456789abcdef";
	struct received got;

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		print_message("  %s\n", refused[i].name);
		assert_int_equal(socket_send(ends[0], bytes, refused[i].size, fds, refused[i].fds),
		                 0);
		assert_int_equal(receive(ends[1], refused[i].fd_capacity, &got), SIMPLER_EPROTOCOL);
		assert_int_equal(next_descriptor(), before);
	}
	assert_int_equal(socket_send(ends[0], bytes, 16, NULL, 0), SIMPLER_OK);
	assert_int_equal(receive(ends[1], 0, &got), SIMPLER_OK);
}

static void a_closed_peer_is_an_error_after_its_last_datagram(void **state)
{
	int *ends = *state;
	struct received got;

	assert_int_equal(socket_send(ends[0], "last", 4, NULL, 0), SIMPLER_OK);
	(void)close(ends[0]);
	ends[0] = -1;
	assert_int_equal(receive(ends[1], 0, &got), SIMPLER_OK);
	assert_int_equal(receive(ends[1], 0, &got), SIMPLER_EUNAVAILABLE);
	/* And no SIGPIPE, which would end this test. */
	assert_int_equal(socket_send(ends[1], "x", 1, NULL, 0), SIMPLER_EUNAVAILABLE);
}

static void waiting_ends_with_bytes_with_the_peer_or_at_the_deadline(void **state)
{
	int *ends = *state;
	int64_t deadline = clock_after_ms(20);
	struct received got;

	assert_false(descriptor_wait_readable(ends[1], 0));
	assert_false(descriptor_wait_readable(ends[1], deadline));
	assert_true(clock_now() >= deadline);
	assert_int_equal(socket_send(ends[0], "x", 1, NULL, 0), SIMPLER_OK);
	assert_true(descriptor_wait_readable(ends[1], CLOCK_NEVER));
	assert_int_equal(receive(ends[1], 0, &got), SIMPLER_OK);
	assert_false(descriptor_wait_readable(ends[1], 0));
	(void)close(ends[0]);
	ends[0] = -1;
	assert_true(descriptor_wait_readable(ends[1], CLOCK_NEVER));
}

/* In a process of its own, whose limit is 0. How often it found something else than it should. */
static int wait_without_descriptors(const int *ends)
{
	const struct rlimit none = { 0, 0 };
	struct pollfd entries[] = { { ends[1], POLLIN, 0 },
		                    { ends[0], POLLIN | POLLOUT, 0 },
		                    { -1, POLLIN, 0 },
		                    { 500, POLLIN, 0 } };
	int64_t until = clock_after_ms(20);
	int wrong = setrlimit(RLIMIT_NOFILE, &none) != 0;

	wrong += descriptor_wait_readable(ends[1], 0);
	wrong += descriptor_wait_readable(ends[1], until) || clock_now() < until;
	wrong += socket_send(ends[0], "x", 1, NULL, 0) != SIMPLER_OK;
	wrong += !descriptor_wait_readable(ends[1], CLOCK_NEVER);
	wrong += descriptor_poll(entries, 4, CLOCK_NEVER) != 3;
	wrong += entries[0].revents != POLLIN || entries[1].revents != POLLOUT;
	wrong += entries[2].revents != 0 || entries[3].revents != POLLNVAL;
	return wrong;
}

static void waiting_needs_no_limit_of_descriptors(void **state)
{
	pid_t child = fork();
	int wait_status;

	assert_int_not_equal(child, -1);
	if (child == 0)
		_exit(wait_without_descriptors(*state));
	assert_int_equal(waitpid(child, &wait_status, 0), child);
	assert_int_equal(wait_status, 0);
}

/* --- names --- */

static void make_name(char name[64])
{
	(void)snprintf(name, 64, "simpler-test-%ld", (long)getpid());
}

static void who_knows_the_name_connects(void **state)
{
	int listener, client, server;
	struct received got;
	char name[64];

	(void)state;
	make_name(name);
	assert_int_equal(socket_connect(name, &client), SIMPLER_EUNAVAILABLE);
	assert_int_equal(socket_listen(name, &listener), SIMPLER_OK);
	assert_int_equal(socket_listen(name, &server), SIMPLER_EEXIST);
	assert_int_equal(socket_accept(listener, &server), SIMPLER_ENOTFOUND);
	assert_int_equal(socket_connect(name, &client), SIMPLER_OK);
	assert_int_equal(socket_accept(listener, &server), SIMPLER_OK);
	assert_true(socket_peer_is_ours(server) && socket_peer_is_ours(client));
	assert_int_equal(socket_send(client, "hello", 5, NULL, 0), SIMPLER_OK);
	assert_true(descriptor_wait_readable(server, CLOCK_NEVER));
	assert_int_equal(receive(server, 0, &got), SIMPLER_OK);
	assert_int_equal(socket_send(server, "yes", 3, NULL, 0), SIMPLER_OK);
	(void)close(server);
	assert_int_equal(receive(client, 0, &got), SIMPLER_OK);
	assert_int_equal(receive(client, 0, &got), SIMPLER_EUNAVAILABLE);
	(void)close(client);
	(void)close(listener);
	assert_int_equal(socket_connect(name, &client), SIMPLER_EUNAVAILABLE);
}

/* Whoever floods a listener that does not look is turned away, and does not wait. */
static void connecting_never_waits(void **state)
{
	int listener, clients[64], count = 0;
	char name[64];

	(void)state;
	make_name(name);
	assert_int_equal(socket_listen(name, &listener), SIMPLER_OK);
	while (count < 64 && socket_connect(name, &clients[count]) == SIMPLER_OK)
		count++;
	assert_true(count > 0 && count < 64);
	while (count > 0)
		(void)close(clients[--count]);
	(void)close(listener);
}

#define WITH_PAIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_PAIR(datagrams_stay_whole_and_in_order),
		WITH_PAIR(descriptors_come_beside_the_bytes),
		WITH_PAIR(what_does_not_fit_is_refused_and_leaves_nothing),
		WITH_PAIR(a_closed_peer_is_an_error_after_its_last_datagram),
		WITH_PAIR(waiting_ends_with_bytes_with_the_peer_or_at_the_deadline),
		WITH_PAIR(waiting_needs_no_limit_of_descriptors),
		cmocka_unit_test(who_knows_the_name_connects),
		cmocka_unit_test(connecting_never_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
