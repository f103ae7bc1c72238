/* Its end is what is waited for, and not its answer, which is there to be read by then. */
#include "node/trial.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/inject.h"
#include "os/descriptor.h"
#include "os/process.h"
#include "os/socket.h"
#include "wire/record.h"

/* The trial keeps the deadline itself and then ends what it started; one that does not is stopped
 * itself, or worse. */
#define GRACE_MS 5000
/* The killed need no time, except those in the middle of a system call. */
#define END_MS 2000

simpler_status trial_start(struct trial *trial, const struct engine_options *options, int module_fd)
{
	char deadline[21];
	char *words[] = { (char *)(uintptr_t)options->program, "load", "--deadline", deadline,
		          NULL };
	int ends[2];
	simpler_status status = INJECT("trial.start")
	                                ? error_raise(SIMPLER_ESYSTEM, "no trial, for a test")
	                                : socket_pair(ends);

	if (status != SIMPLER_OK)
		return status;
	(void)snprintf(deadline, sizeof(deadline), "%" PRIu64, options->install_ms);
	status = process_start_group(options->program, words, (const int[]){ ends[1], module_fd },
	                             2, &trial->pid, &trial->pidfd);
	(void)close(ends[1]);
	if (status != SIMPLER_OK) {
		(void)close(ends[0]);
		trial->pidfd = -1;
		return status;
	}
	trial->control = ends[0];
	trial->due = clock_after_ms(options->install_ms + GRACE_MS);
	return SIMPLER_OK;
}

/* Its process has been waited for. */
static void forget(struct trial *trial)
{
	(void)close(trial->control);
	(void)close(trial->pidfd);
	trial->control = trial->pidfd = -1;
}

/* What it sent before it ended; not SIMPLER_OK if that is nothing, or nonsense. */
static simpler_status take_answer(const struct trial *trial, struct error *outcome)
{
	uint8_t bytes[RECORD_OUTCOME_MAX];
	struct record_outcome answer;
	size_t size, fd_count;
	simpler_status status;

	if (!descriptor_wait_readable(trial->control, 0))
		return SIMPLER_EUNAVAILABLE;
	status = socket_receive(trial->control, bytes, sizeof(bytes), &size, NULL, 0, &fd_count);
	if (status == SIMPLER_OK)
		status = record_outcome_decode(bytes, size, &answer);
	if (status == SIMPLER_OK)
		*outcome = answer.error;
	return status;
}

bool trial_finish(struct trial *trial, struct error *outcome)
{
	char how[96];
	int wait_status;

	if (trial->due <= clock_now()) {
		process_kill_group(trial->pid);
		trial->due = CLOCK_NEVER;
	}
	if (!process_wait(trial->pidfd, 0, &wait_status))
		return false;
	if (take_answer(trial, outcome) != SIMPLER_OK) {
		process_describe_exit(wait_status, how, sizeof(how));
		error_init(outcome, SIMPLER_EINVAL, "the process that tried to load it %s", how);
	}
	forget(trial);
	return true;
}

void trial_abandon(struct trial *trial)
{
	int wait_status;

	if (trial->pidfd < 0)
		return;
	/* Left alone it ends everything below it, which only it can. */
	(void)close(trial->control);
	trial->control = -1;
	if (!process_wait(trial->pidfd, clock_after_ms(END_MS), &wait_status)) {
		process_kill_group(trial->pid);
		(void)process_wait(trial->pidfd, CLOCK_NEVER, &wait_status);
	}
	forget(trial);
}
