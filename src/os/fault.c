#include "os/fault.h"

#include <dlfcn.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

/* SYS_SECCOMP of the kernel's <asm/siginfo.h>, which glibc does not have. */
#define BY_SECCOMP  1
#define STACK_BYTES ((size_t)256 << 10) /* a sanitizer's frames are large */

static const int watched[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP };

/* Set once, before the handlers are. */
static fault_handler *call_handler;
static void *handler_context;
static pid_t watched_process;

static _Atomic pid_t faulting_thread;    /* the first; 0: none so far */
static volatile sig_atomic_t die_signal; /* what that one faulted with */

bool fault_is_watched(int signal)
{
	for (size_t i = 0; i < sizeof(watched) / sizeof(*watched); i++) {
		if (watched[i] == signal)
			return true;
	}
	return false;
}

bool fault_was_sent(int code)
{
	return code <= 0;
}

/* --- registers --- */

#if defined(__x86_64__)
#define PC(mcontext) ((mcontext)->gregs[REG_RIP])
#define SP(mcontext) ((mcontext)->gregs[REG_RSP])
#elif defined(__aarch64__)
#define PC(mcontext) ((mcontext)->pc)
#define SP(mcontext) ((mcontext)->sp)
#else
#error "say here where this machine's contexts have the program counter and the stack pointer"
#endif

/* Where the function returns to whose first instruction was about to run; 0 if that cannot be read.
 * The kernel copies, so that a bad stack pointer is no second fault. */
static uint64_t caller_at_entry(const mcontext_t *registers)
{
#if defined(__x86_64__)
	uint64_t address = 0;
	struct iovec to = { &address, sizeof(address) };
	struct iovec from = { (void *)(uintptr_t)SP(registers), sizeof(address) };

	if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != (ssize_t)sizeof(address))
		return 0;
	return address;
#else
	return registers->regs[30];
#endif
}

/* As if the function had returned. */
static void leave_function(mcontext_t *registers, uint64_t caller)
{
#if defined(__x86_64__)
	SP(registers) += (greg_t)sizeof(caller);
	PC(registers) = (greg_t)caller;
#else
	PC(registers) = caller;
#endif
}

/* --- the handler --- */

static void die(int signal_number)
{
	sigset_t set;

	(void)signal(signal_number, SIG_DFL);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, signal_number);
	(void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	(void)syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), signal_number);
}

static void describe(int signal_number, const siginfo_t *info, ucontext_t *context,
                     struct fault *fault)
{
	fault->signal = signal_number;
	fault->code = info->si_code;
	fault->detail = 0;
	fault->address = 0;
	if (fault_was_sent(info->si_code))
		fault->detail = info->si_pid;
	else if (signal_number == SIGSYS)
		fault->detail = info->si_syscall;
	else
		fault->address = (uintptr_t)info->si_addr;
	fault->pc = (uint64_t)PC(&context->uc_mcontext);
	fault->sp = (uint64_t)SP(&context->uc_mcontext);
	fault->context = context;
}

/* Nothing is blocked while it runs, so that a fault in it comes here a second time. */
static void on_signal(int signal_number, siginfo_t *info, void *context)
{
	pid_t thread = (pid_t)syscall(SYS_gettid), nobody = 0;
	struct fault fault;

	if (getpid() != watched_process) {
		die(signal_number);
		return;
	}
	if (!atomic_compare_exchange_strong(&faulting_thread, &nobody, thread)) {
		if (nobody == thread)
			die(die_signal);
		/* Another thread's fault is being recorded, and will end this one, too. */
		for (;;)
			(void)pause();
	}
	die_signal = signal_number;
	describe(signal_number, info, context, &fault);
	call_handler(&fault, handler_context);
	die(signal_number);
}

/* With a page below it that faults: an overflow of this stack, too, is to be a clean death. */
static bool use_alternate_stack(void)
{
	size_t guard = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *memory = mmap(NULL, guard + STACK_BYTES, PROT_READ | PROT_WRITE,
	                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	stack_t stack = { .ss_size = STACK_BYTES };

	if (memory == MAP_FAILED)
		return false;
	(void)mprotect(memory, guard, PROT_NONE);
	stack.ss_sp = memory + guard;
	return sigaltstack(&stack, NULL) == 0;
}

/* The unwinder prepares tables when it is called first. */
static _Unwind_Reason_Code warm_up(struct _Unwind_Context *context, void *unused)
{
	(void)context;
	(void)unused;
	return _URC_NO_REASON;
}

bool fault_watch(fault_handler *handler, void *context)
{
	struct sigaction action = { .sa_sigaction = on_signal,
		                    .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	bool has_stack = use_alternate_stack();

	call_handler = handler;
	handler_context = context;
	watched_process = getpid();
	(void)_Unwind_Backtrace(warm_up, NULL);
	for (size_t i = 0; i < sizeof(watched) / sizeof(*watched); i++)
		(void)sigaction(watched[i], &action, NULL);
	return has_stack;
}

/* --- where it happened --- */

bool fault_locate(uint64_t pc, const char **object, uint64_t *address)
{
	struct dl_find_object found;

	if (_dl_find_object((void *)(uintptr_t)pc, &found) != 0)
		return false;
	*object = found.dlfo_link_map->l_name;
	*address = pc - found.dlfo_link_map->l_addr;
	return true;
}

struct walk {
	uint64_t start; /* the pc of the interrupted function; the handler's own calls are before it
	                 */
	bool started;
	bool start_is_call;
	fault_visit *visit;
	void *context;
};

static _Unwind_Reason_Code walk_frame(struct _Unwind_Context *context, void *walk_pointer)
{
	struct walk *walk = walk_pointer;
	int before_instruction = 0;
	uint64_t pc = _Unwind_GetIPInfo(context, &before_instruction);

	if (!walk->started && pc != walk->start)
		return _URC_NO_REASON;
	if (!walk->started) {
		walk->started = true;
		return walk->visit(pc, walk->start_is_call, walk->context) ? _URC_NO_REASON
		                                                           : _URC_END_OF_STACK;
	}
	if (pc == 0 || !walk->visit(pc, !before_instruction, walk->context))
		return _URC_END_OF_STACK;
	return _URC_NO_REASON;
}

/*
 * Nothing says how to unwind from where there is no code, which a call through a bad pointer leads
 * to. The unwinder takes the interrupted registers from the signal's context; there they are made
 * those of the caller for as long as it walks.
 */
void fault_backtrace(const struct fault *fault, fault_visit *visit, void *context)
{
	mcontext_t *registers = &((ucontext_t *)fault->context)->uc_mcontext;
	const mcontext_t saved = *registers;
	struct walk walk = { .start = fault->pc, .visit = visit, .context = context };
	struct dl_find_object found;

	if (_dl_find_object((void *)(uintptr_t)fault->pc, &found) != 0) {
		uint64_t caller = caller_at_entry(registers);

		if (!visit(fault->pc, false, context) || caller == 0 ||
		    _dl_find_object((void *)(uintptr_t)caller, &found) != 0)
			return;
		leave_function(registers, caller);
		walk.start = caller;
		walk.start_is_call = true;
	}
	(void)_Unwind_Backtrace(walk_frame, &walk);
	if (!walk.started)
		(void)visit(walk.start, walk.start_is_call, context);
	*registers = saved;
}

/* --- words --- */

static const struct {
	int signal, code;
	const char *reason;
} reasons[] = {
	{ SIGSEGV, SEGV_MAPERR, "address not mapped" },
	{ SIGSEGV, SEGV_ACCERR, "no permission for this access" },
	{ SIGSEGV, SI_KERNEL, "an address that cannot exist, or a privileged instruction" },
	{ SIGBUS, BUS_ADRALN, "address not aligned" },
	{ SIGBUS, BUS_ADRERR, "no memory behind the mapping, or past a file's end" },
	{ SIGBUS, BUS_OBJERR, "hardware error" },
	{ SIGBUS, BUS_MCEERR_AR, "memory error" },
	{ SIGFPE, FPE_INTDIV, "integer division by zero" },
	{ SIGFPE, FPE_INTOVF, "integer overflow" },
	{ SIGFPE, FPE_FLTDIV, "floating-point division by zero" },
	{ SIGFPE, FPE_FLTOVF, "floating-point overflow" },
	{ SIGFPE, FPE_FLTUND, "floating-point underflow" },
	{ SIGFPE, FPE_FLTRES, "floating-point inexact result" },
	{ SIGFPE, FPE_FLTINV, "invalid floating-point operation" },
	{ SIGILL, ILL_ILLOPC, "illegal instruction" },
	{ SIGILL, ILL_ILLOPN, "illegal operand" },
	{ SIGILL, ILL_PRVOPC, "privileged instruction" },
	{ SIGTRAP, TRAP_BRKPT, "breakpoint" },
	{ SIGTRAP, SI_KERNEL, "breakpoint" },
	{ SIGSYS, BY_SECCOMP, "system call not allowed" },
};

const char *fault_reason(int signal, int code)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++) {
		if (reasons[i].signal == signal && reasons[i].code == code)
			return reasons[i].reason;
	}
	return NULL;
}
