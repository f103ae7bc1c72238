/* The core that a thread runs on: what it is told while it waits for another, and which it is. */
#ifndef OS_CPU_H
#define OS_CPU_H

#include <stdint.h>

/* Spend a moment without taking the memory bus, the power or the core's other thread's share. */
static inline void cpu_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__asm__ volatile("pause" ::: "memory");
#elif defined(__aarch64__) || defined(__arm__)
	__asm__ volatile("yield" ::: "memory");
#endif
}

#define CPU_UNKNOWN 0u

/* Of the core this thread is on, from 1, or CPU_UNKNOWN. It may be on another a moment later. Costs
 * a few nanoseconds. */
uint32_t cpu_number(void);

#endif
