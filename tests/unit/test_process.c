#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/process.h"

#define SOON_MS 20000

struct child {
	pid_t pid;
	int pidfd;
};

/* A shell that runs `script` with these descriptors. */
static struct child start(const char *script, const int *fds, size_t fd_count)
{
	char name[] = "sh", flag[] = "-c", text[512];
	char *const argv[] = { name, flag, text, NULL };
	struct child child;

	assert_true(strlen(script) < sizeof(text));
	memcpy(text, script, strlen(script) + 1);
	assert_int_equal(process_start("/bin/sh", argv, fds, fd_count, &child.pid, &child.pidfd),
	                 SIMPLER_OK);
	return child;
}

static int end_of(struct child child)
{
	int wait_status = -1;

	assert_true(process_wait(child.pidfd, clock_after_ms(SOON_MS), &wait_status));
	assert_int_equal(waitpid(child.pid, NULL, 0), -1); /* it is reaped */
	(void)close(child.pidfd);
	return wait_status;
}

static void exits_are_told_as_by_waitpid(void **state)
{
	int killed, exited = end_of(start("exit 3", NULL, 0));
	char text[96];

	(void)state;
	assert_true(WIFEXITED(exited));
	assert_int_equal(WEXITSTATUS(exited), 3);
	process_describe_exit(exited, text, sizeof(text));
	assert_string_equal(text, "exited with status 3");

	killed = end_of(start("kill -KILL $$", NULL, 0));
	assert_true(WIFSIGNALED(killed));
	assert_int_equal(WTERMSIG(killed), SIGKILL);
	process_describe_exit(killed, text, sizeof(text));
	assert_string_equal(text, "was killed by signal 9 (Killed)");
}

static void a_wait_ends_at_its_deadline(void **state)
{
	struct child child = start("kill -STOP $$", NULL, 0);
	int wait_status;

	(void)state;
	assert_false(process_wait(child.pidfd, 0, &wait_status));
	assert_false(process_wait(child.pidfd, clock_after_ms(20), &wait_status));
	process_signal(child.pidfd, SIGKILL);
	assert_true(WIFSIGNALED(end_of(child)));
}

/* Given in an order that a plain row of dup2() would get wrong. */
static void descriptors_arrive_in_order(void **state)
{
	int one[2], two[2], fds[2];
	char byte = 0;

	(void)state;
	assert_int_equal(pipe(one), 0);
	assert_int_equal(pipe(two), 0);
	/* The reading ends out of the way; the writing ends on each other's place. */
	one[0] = fcntl(one[0], F_DUPFD, 20);
	two[0] = fcntl(two[0], F_DUPFD, 20);
	one[1] = fcntl(one[1], F_DUPFD, 20);
	fds[1] = dup2(two[1], 3);
	fds[0] = dup2(one[1], 4);
	assert_int_equal(end_of(start("printf 1 >&3; printf 2 >&4", fds, 2)), 0);
	assert_int_equal(read(one[0], &byte, 1), 1);
	assert_int_equal(byte, '1');
	assert_int_equal(read(two[0], &byte, 1), 1);
	assert_int_equal(byte, '2');
	for (int fd = 3; fd < 30; fd++)
		(void)close(fd);
}

static void nothing_else_is_inherited(void **state)
{
	int null = open("/dev/null", O_RDONLY), far = fcntl(null, F_DUPFD, 100);
	const char *script = "for n in 4 5 6 7 8 9 10 11 12 100; do "
			     "test ! -e /proc/$$/fd/$n || exit 1; done; "
			     "test -e /proc/$$/fd/3 || exit 2; "
			     "test \"$(readlink /proc/$$/fd/0)\" = /dev/null || exit 3";

	(void)state;
	assert_true(null >= 0 && far == 100);
	assert_int_equal(end_of(start(script, &null, 1)), 0);
	(void)close(null);
	(void)close(far);
}

static void signals_start_out_unblocked_and_unignored(void **state)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN }, old;
	sigset_t blocked, before;

	(void)state;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	assert_int_equal(sigprocmask(SIG_BLOCK, &blocked, &before), 0);
	assert_int_equal(sigaction(SIGTERM, &ignore, &old), 0);
	assert_int_equal(WTERMSIG(end_of(start("kill -TERM $$; exit 0", NULL, 0))), SIGTERM);
	assert_int_equal(sigaction(SIGTERM, &old, NULL), 0);
	assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
}

static void a_program_that_is_not_there_is_named(void **state)
{
	char name[] = "nothing";
	char *const argv[] = { name, NULL };
	pid_t pid;
	int pidfd;

	(void)state;
	assert_int_equal(process_start("/nowhere/nothing", argv, NULL, 0, &pid, &pidfd),
	                 SIMPLER_ESYSTEM);
	assert_non_null(strstr(simpler_last_error(), "/nowhere/nothing"));
}

static void signalling_the_dead_does_nothing(void **state)
{
	struct child child = start("exit 0", NULL, 0);
	int wait_status, pidfd;

	(void)state;
	assert_true(process_wait(child.pidfd, clock_after_ms(SOON_MS), &wait_status));
	process_signal(child.pidfd, SIGKILL);
	assert_int_equal(process_open(child.pid, &pidfd), SIMPLER_ENOTFOUND);
	(void)close(child.pidfd);
}

static void the_executable_knows_its_path(void **state)
{
	char path[4096], small[4];

	(void)state;
	assert_int_equal(process_executable(path, sizeof(path)), SIMPLER_OK);
	assert_non_null(strstr(path, "/test_process"));
	assert_int_equal(process_executable(small, sizeof(small)), SIMPLER_ENOSPACE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exits_are_told_as_by_waitpid),
		cmocka_unit_test(a_wait_ends_at_its_deadline),
		cmocka_unit_test(descriptors_arrive_in_order),
		cmocka_unit_test(nothing_else_is_inherited),
		cmocka_unit_test(signals_start_out_unblocked_and_unignored),
		cmocka_unit_test(a_program_that_is_not_there_is_named),
		cmocka_unit_test(signalling_the_dead_does_nothing),
		cmocka_unit_test(the_executable_knows_its_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
