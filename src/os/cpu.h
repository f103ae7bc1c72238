/* What a loop that waits for another core tells its own. */
#ifndef OS_CPU_H
#define OS_CPU_H

/* Spend a moment without taking the memory bus, the power or the core's other thread's share. */
static inline void cpu_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__asm__ volatile("pause" ::: "memory");
#elif defined(__aarch64__) || defined(__arm__)
	__asm__ volatile("yield" ::: "memory");
#endif
}

#endif
