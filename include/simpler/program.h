/*
 * Functions of the program itself as callables, for its children on this machine.
 *
 *     static simpler_status add(const simpler_args *args, simpler_bytes state) { ... }
 *
 *     int main(void)
 *     {
 *             simpler_program_serve();
 *             ...
 *             status = simpler_program_sub(worker, add, "add", simpler_no_state(), &sub);
 *
 * The children of a program that serves itself are processes of that program: it is executed once
 * more, main() gets as far as simpler_program_serve(), and from there they are forked. Functions of
 * the program, and of shared libraries that it is linked with, exist in them; what its variables
 * have become since does not. They load modules as simpler-host does.
 *
 * A remote node runs another program: a submit that would bring such a function there is refused.
 * What is to run there goes into a module (simpler/module.h).
 *
 * A function of the wrong kind, and a place for a handle of another, do not compile.
 */
#ifndef SIMPLER_PROGRAM_H
#define SIMPLER_PROGRAM_H

#include "simpler/worker.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The first statement of main(), before there is any thread and before anything has an effect that
 * is not to be had again: up to here the program runs once for every group of its children. In the
 * program it returns at once, and children that are added from now on run the program, not
 * simpler-host. In the process that they are forked from it does not return.
 *
 * A process that was started to serve and does not get here can add no children: a program cannot
 * start itself over and over. The program needs /proc. One that links libsimpler.a exports its
 * functions to the modules that it loads: link it with -Wl,--export-dynamic-symbol='simpler_*' or
 * -rdynamic.
 */
SIMPLER_API void simpler_program_serve(void);

/**
 * Register a function of this program, with captured state: at most SIMPLER_STATE_MAX bytes,
 * copied. Before or after init, from any thread. The same function, name and state give the same
 * handle, and count one registration more; see simpler_unregister_sub().
 *
 * @param function Of the program or of a shared library that it is linked with, static or not.
 * @param name     For messages and logs: an identifier of 1 to 63 bytes, such as the function's.
 * @return SIMPLER_ESTATE when this program does not serve itself; SIMPLER_EINVAL for a name that is
 *         none, and for what is in no object's code; SIMPLER_ENOSPACE past SIMPLER_STATE_MAX. A
 *         task fails with SIMPLER_ENOTFOUND when the function is in a library that was loaded
 *         later, and with SIMPLER_EVERSION when its library has been replaced in the meantime.
 */
SIMPLER_API simpler_status simpler_program_sub(simpler_worker *worker,
                                               simpler_sub_function *function, const char *name,
                                               simpler_bytes state, simpler_sub *out);
SIMPLER_API simpler_status simpler_program_orch_fn(simpler_worker *worker,
                                                   simpler_orch_function *function,
                                                   const char *name, simpler_bytes state,
                                                   simpler_orch_fn *out);
SIMPLER_API simpler_status simpler_program_chip(simpler_worker *worker,
                                                simpler_chip_function *function, const char *name,
                                                simpler_bytes state, simpler_chip *out);

/**
 * The same from within an orchestration function of the program, wherever that runs: in the program
 * itself, or in a child of it. Asking again gives the same handle, cheaply. It is the run's, and
 * good until that has ended.
 */
SIMPLER_API simpler_status simpler_orch_program_sub(simpler_orch *orch,
                                                    simpler_sub_function *function,
                                                    const char *name, simpler_bytes state,
                                                    simpler_sub *out);
SIMPLER_API simpler_status simpler_orch_program_orch_fn(simpler_orch *orch,
                                                        simpler_orch_function *function,
                                                        const char *name, simpler_bytes state,
                                                        simpler_orch_fn *out);
SIMPLER_API simpler_status simpler_orch_program_chip(simpler_orch *orch,
                                                     simpler_chip_function *function,
                                                     const char *name, simpler_bytes state,
                                                     simpler_chip *out);

/* C++ refuses pointers of the wrong type by itself; in C it would be no more than a warning. */
#ifndef __cplusplus
#define SIMPLER_PROGRAM_IS_(type, pointer) _Generic((pointer), type * : (pointer))
#define simpler_program_sub(worker, function, name, state, out)                                    \
	simpler_program_sub(worker, SIMPLER_PROGRAM_IS_(simpler_sub_function, function), name,     \
	                    state, SIMPLER_PROGRAM_IS_(simpler_sub, out))
#define simpler_program_orch_fn(worker, function, name, state, out)                                \
	simpler_program_orch_fn(worker, SIMPLER_PROGRAM_IS_(simpler_orch_function, function),      \
	                        name, state, SIMPLER_PROGRAM_IS_(simpler_orch_fn, out))
#define simpler_program_chip(worker, function, name, state, out)                                   \
	simpler_program_chip(worker, SIMPLER_PROGRAM_IS_(simpler_chip_function, function), name,   \
	                     state, SIMPLER_PROGRAM_IS_(simpler_chip, out))
#define simpler_orch_program_sub(orch, function, name, state, out)                                 \
	simpler_orch_program_sub(orch, SIMPLER_PROGRAM_IS_(simpler_sub_function, function), name,  \
	                         state, SIMPLER_PROGRAM_IS_(simpler_sub, out))
#define simpler_orch_program_orch_fn(orch, function, name, state, out)                             \
	simpler_orch_program_orch_fn(orch, SIMPLER_PROGRAM_IS_(simpler_orch_function, function),   \
	                             name, state, SIMPLER_PROGRAM_IS_(simpler_orch_fn, out))
#define simpler_orch_program_chip(orch, function, name, state, out)                                \
	simpler_orch_program_chip(orch, SIMPLER_PROGRAM_IS_(simpler_chip_function, function),      \
	                          name, state, SIMPLER_PROGRAM_IS_(simpler_chip, out))
#endif

#ifdef __cplusplus
}
#endif

#endif
