/*
 * The process of a next-level worker: a worker that is a child of another on its machine, and has
 * children of its own. It is forked by its parent's spawn helper like a sub worker, and then grows
 * threads and a spawn helper of its own.
 *
 * Its parent's side is exec/local.h. Over the control socket come, in this order, a description of
 * the tree below (wire/tree.h) and installs, each before the first task that names its callable.
 * Tasks come through the slots of its mailbox, several at once.
 *
 * It ends when control closes, and everything below it with it; when it is killed, its spawn helper
 * sees the end of their socket, and kills what is below.
 */
#ifndef WORKER_NESTED_H
#define WORKER_NESTED_H

#include "ipc/worker_process.h"

/* The main function of a spawn helper whose children have any role. Returns the exit status; in a
 * child it ends the process itself. */
int nested_helper_main(void);

#endif
