/*
 * Processes: exec with exactly the descriptors one means, pidfds, waiting with a deadline.
 *
 * A pidfd names one process for ever, a pid only until somebody has waited for it; so a process is
 * signalled by its pidfd.
 */
#ifndef OS_PROCESS_H
#define OS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

#define PROCESS_FIRST_FD 3
#define PROCESS_MAX_FDS  16

/*
 * Execute `program` with `argv`. In the new process `fds[i]` is descriptor PROCESS_FIRST_FD + i,
 * standard input is /dev/null, standard output and error are this process's, and no other
 * descriptor is open; no signal is blocked or ignored. `*pidfd` is the caller's to close. Safe in a
 * process with threads.
 *
 * @return SIMPLER_ESYSTEM naming the program when it cannot be executed.
 */
simpler_status process_start(const char *program, char *const argv[], const int *fds,
                             size_t fd_count, pid_t *pid, int *pidfd);

/* The same, as the leader of a process group of its own: out of reach of the terminal's Ctrl-C, and
 * to be killed with all its descendants that did not leave the group. */
simpler_status process_start_group(const char *program, char *const argv[], const int *fds,
                                   size_t fd_count, pid_t *pid, int *pidfd);
/* Kill the group of a leader that nobody has waited for yet. */
void process_kill_group(pid_t leader);

/* Become the parent of descendants whose own parent dies, so that process_reap() sees them. */
simpler_status process_adopt_orphans(void);
/* Wait for all children and adopted orphans; false when `deadline` passed and some are left. */
bool process_reap(int64_t deadline);

/*
 * Reap the children of the process's first thread that are dead and for which `is_own` is false:
 * those that it has adopted, which the first thread does. With `kill_them` kill and reap the
 * living, too, and what they leave.
 */
void process_end_adopted(bool kill_them, bool (*is_own)(const void *context, pid_t pid),
                         const void *context);

/* SIMPLER_ENOTFOUND when there is no such process. */
simpler_status process_open(pid_t pid, int *pidfd);

/*
 * Wait for a child's exit and reap it. False when `deadline` (base/clock.h) passed. `*wait_status`
 * is as of waitpid(); an exit that somebody else has reaped reads as 0.
 */
bool process_wait(int pidfd, int64_t deadline, int *wait_status);

/* Whether a child is stopped: by SIGSTOP or the like, and not continued since. */
bool process_is_stopped(int pidfd);

/* Nothing happens when it is gone. */
void process_signal(int pidfd, int signal);

/* "exited with status 1", "was killed by signal 11 (Segmentation fault)" */
void process_describe_exit(int wait_status, char *text, size_t capacity);

/*
 * Have this process killed when `parent` dies. False when that has happened already. What counts is
 * the thread of the parent that forked, so this is for children of single-threaded processes.
 */
bool process_die_with(pid_t parent);

/* Close every descriptor above standard error but `keep`. */
void process_close_all_but(int keep);

/*
 * A byte that is not 0 in this process, and 0 in copies of it that fork() makes: who may be a copy
 * finds out by a load. Stays for good.
 */
simpler_status process_mark_original(const volatile uint8_t **mark);

/* What this process was started with, each word ended by a zero, cut to `capacity`. */
simpler_status process_command_line(char *words, size_t capacity, size_t *size);

/* The path of this process's executable. */
simpler_status process_executable(char *path, size_t capacity);

#endif
