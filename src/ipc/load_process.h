/*
 * The trial of a module: it is loaded once in a process of its own, so that what its constructors
 * do to a process is known before an engine with tasks in flight loads it.
 *
 *   simpler-host load --deadline MS
 *
 *   descriptor 3  control: a SOCK_SEQPACKET socket
 *   descriptor 4  the module, sealed
 *
 * Two processes: a guard, which never touches the module, and its child, which loads it and looks
 * every callable up. The guard outlives a crash, an exit and a hang, puts them into words, kills
 * whatever a constructor started, and sends one record_outcome on control: SIMPLER_OK, or why the
 * module does not load. Then it ends. It ends without an answer when control closes.
 *
 * Neither has any memory, ring or socket of an engine or a front end.
 */
#ifndef IPC_LOAD_PROCESS_H
#define IPC_LOAD_PROCESS_H

#define LOAD_CONTROL_FD 3
#define LOAD_MODULE_FD  4

/* The guard. `arguments` are those behind "load". Returns the exit status. */
int load_main(int count, char **arguments);

#endif
