/* Processor time that a process has used, in nanoseconds. */
#ifndef BENCH_CPU_TIME_H
#define BENCH_CPU_TIME_H

#include <sys/types.h>

/* 0: this one. Gives up when there is none. */
double cpu_time_of(pid_t pid);
/* The first child of a process: of a daemon, its engine. Likewise. */
pid_t cpu_time_child(pid_t pid);

#endif
