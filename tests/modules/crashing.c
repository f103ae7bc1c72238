/* Sub tasks that kill their process, each in its way. Reports name these lines: #line says which.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <simpler/module.h>

#define SUB_TASK(name)                                                                             \
	static simpler_status name(const simpler_args *args, simpler_bytes state);                 \
	SIMPLER_SUB(name);                                                                         \
	static simpler_status name(const simpler_args *args, simpler_bytes state)

static volatile int result;

static void write_to(volatile int *where)
{
#line 101
	*where = 1;
}

SUB_TASK(write_null)
{
	(void)args;
	(void)state;
#line 111
	write_to((volatile int *)16);
	return SIMPLER_OK;
}

SUB_TASK(divide)
{
	volatile int zero = args ? 1 : 0;

	(void)state;
#line 121
	result = result / zero;
	return SIMPLER_OK;
}

SUB_TASK(give_up)
{
	(void)args;
	(void)state;
#line 131
	abort();
}

static int recurse(int depth) /* NOLINT(misc-no-recursion): without end, on purpose */
{
	volatile char much[512];

	memset((char *)much, depth, sizeof(much));
#line 141
	return depth < 0 ? 0 : recurse(depth + 1) + much[depth & 511];
}

SUB_TASK(overflow_stack)
{
	(void)args;
	(void)state;
	result = recurse(0);
	return SIMPLER_OK;
}

SUB_TASK(call_null)
{
	void (*volatile function)(void) = NULL;

	(void)args;
	(void)state;
#line 161
	function();
	return SIMPLER_OK;
}

static int compare(const void *left, const void *right)
{
	(void)left;
	(void)right;
#line 171
	write_to((volatile int *)16);
	return 0;
}

SUB_TASK(crash_in_callback)
{
	int numbers[2] = { 2, 1 };

	(void)args;
	(void)state;
#line 181
	qsort(numbers, 2, sizeof(*numbers), compare);
	return SIMPLER_OK;
}

static void *run_thread(void *unused)
{
	(void)unused;
#line 191
	write_to((volatile int *)16);
	return NULL;
}

SUB_TASK(crash_in_thread)
{
	pthread_t thread;

	(void)args;
	(void)state;
	if (pthread_create(&thread, NULL, run_thread, NULL) == 0)
		(void)pthread_join(thread, NULL);
	return SIMPLER_OK;
}

SUB_TASK(raise_sigsys)
{
	(void)args;
	(void)state;
#line 201
	(void)raise(SIGSYS);
	return SIMPLER_OK;
}

SUB_TASK(touch_past_the_end)
{
	char name[] = "/tmp/crashing-XXXXXX";
	int fd = mkstemp(name);
	volatile char *bytes;

	(void)args;
	(void)state;
	(void)unlink(name);
	bytes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
#line 211
	bytes[100] = 1;
	return SIMPLER_OK;
}

/* Nobody finds a caller from there. */
SUB_TASK(lose_the_stack)
{
	(void)args;
	(void)state;
#line 221
#if defined(__x86_64__)
	__asm__ volatile("mov $64, %%rsp\n\tmov $64, %%rbp\n\tpush %%rax" ::: "memory");
#else
	__asm__ volatile("mov x9, #64\n\tmov sp, x9\n\tmov x29, x9\n\tstr x9, [sp]" ::: "memory");
#endif
	return SIMPLER_OK;
}

/* The captured state is the address of a function of the program's. */
SUB_TASK(call_the_program)
{
	void (*function)(void);

	(void)args;
	memcpy(&function, state.data, sizeof(function));
#line 231
	function();
	return SIMPLER_OK;
}

static void ignore(int signal_number)
{
	(void)signal_number;
	_exit(7);
}

SUB_TASK(handle_by_itself)
{
	(void)args;
	(void)state;
	(void)signal(SIGSEGV, ignore);
	write_to((volatile int *)16);
	return SIMPLER_OK;
}

static struct sigaction before;

static void pass_on(int signal_number, siginfo_t *info, void *context)
{
	result++;
	before.sa_sigaction(signal_number, info, context);
}

SUB_TASK(hand_it_on)
{
	struct sigaction mine = { .sa_sigaction = pass_on, .sa_flags = SA_SIGINFO };

	(void)args;
	(void)state;
	(void)sigaction(SIGSEGV, &mine, &before);
#line 251
	write_to((volatile int *)16);
	return SIMPLER_OK;
}

#define DEEP(name, callee)                                                                         \
	static void name(void)                                                                     \
	{                                                                                          \
		callee();                                                                          \
		result++;                                                                          \
	}

static void deep0(void)
{
	write_to((volatile int *)16);
}
DEEP(deep1, deep0)
DEEP(deep2, deep1)
DEEP(deep3, deep2)
DEEP(deep4, deep3)
DEEP(deep5, deep4)
DEEP(deep6, deep5)
DEEP(deep7, deep6)
DEEP(deep8, deep7)
DEEP(deep9, deep8)

SUB_TASK(crash_deep_down)
{
	(void)args;
	(void)state;
	deep9();
	return SIMPLER_OK;
}
