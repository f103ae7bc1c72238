/*
 * Hearing of the signals a process dies of, in the process itself. The handler runs on an alternate
 * stack, in the state of a signal handler: it may call nothing but what is async-signal-safe. What
 * is declared here for handlers takes no lock and allocates nothing.
 */
#ifndef OS_FAULT_H
#define OS_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fault {
	int signal;
	int code;         /* si_code */
	int64_t detail;   /* si_pid of a signal that was sent, si_syscall of SIGSYS, else 0 */
	uint64_t address; /* si_addr; 0 of a signal that was sent */
	uint64_t pc, sp;
	void *context; /* for fault_backtrace() */
};

typedef void fault_handler(const struct fault *fault, void *context);

/*
 * Call `handler` for the first fault of this process, then let it die of that signal. A fault in
 * the handler ends the handler, and the process with the first signal. Meant for the calling
 * thread: one that it starts has no alternate stack, so its stack overflows kill unheard. In a
 * forked child nothing is called.
 *
 * Once a process; never undone. False if there is no memory for the stack: then faults are heard
 * as long as the thread's own stack lasts.
 */
bool fault_watch(fault_handler *handler, void *context);

/* Whether the signal is one that fault_watch() hears. */
bool fault_is_watched(int signal);

/* Handlers: call `visit` with each pc, from the one that faulted to the outermost call, until it
 * returns false. All but the first are return addresses, if `call_site` says so. */
typedef bool fault_visit(uint64_t pc, bool call_site, void *context);
void fault_backtrace(const struct fault *fault, fault_visit *visit, void *context);

/* Handlers: the object that holds `pc`, by the dynamic loader's name for it, "" for the program,
 * and where in its ELF file's addresses that is. False when there is none. */
bool fault_locate(uint64_t pc, const char **object, uint64_t *address);

/* What si_code means: "address not mapped"; NULL if that is not known. Not for handlers. */
const char *fault_reason(int signal, int code);
/* Whether the signal was sent, by kill() or raise(), rather than caused by an instruction. */
bool fault_was_sent(int code);

#endif
