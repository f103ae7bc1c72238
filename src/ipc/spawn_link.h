/*
 * What an owner and its spawn helper say to each other, over two kinds of SOCK_SEQPACKET socket.
 *
 * The helper's socket:
 *   owner -> helper   spawn_setup once, the segments' descriptors beside it
 *   helper -> owner   spawn_answer: ready, or why not
 *   owner -> helper   spawn_request, a worker's end of its control socket beside it
 *   helper -> owner   spawn_exit (ipc/spawn.h), one for each death
 *
 * A control socket:
 *   helper -> owner   spawn_answer, the worker's pidfd beside it, before the worker has the socket
 *                     for itself
 *   owner -> worker   spawn_chip, or an encoded tree (wire/tree.h), or nothing, as its role says
 *
 * A request's answer comes over the new control socket and not between the reports of exits, so
 * that neither side has to sort. Both programs come from one build; spawn_setup proves it.
 */
#ifndef IPC_SPAWN_LINK_H
#define IPC_SPAWN_LINK_H

#include "ipc/spawn.h"
#include "simpler/log.h"
#include "simpler/version.h"

#define SPAWN_SOCKET_FD 3

/* The command line of a helper: a name that no program of a user's has, and what it is to be. */
#define SPAWN_NAME             "simpler-host"
#define SPAWN_ROLE             "spawn"
#define SPAWN_ROLE_OWN_PROGRAM "program"

struct spawn_setup {
	char version[24]; /* SIMPLER_VERSION */
	simpler_log_level log_level;
	uint32_t segment_count;
	struct {
		uint32_t id;
		uint64_t bytes;
	} segments[SPAWN_MAX_SEGMENTS]; /* in the order of their descriptors */
};

_Static_assert(sizeof(SIMPLER_VERSION) <= sizeof(((struct spawn_setup *)0)->version),
               "the version fits");

struct spawn_request {
	enum spawn_role role;
	uint32_t index, number;
};

struct spawn_answer {
	simpler_status status;
	pid_t pid; /* of the worker, if one was asked for */
	char text[240];
};

struct spawn_chip {
	uint32_t device_index;
	char device[TREE_DEVICE_BYTES];
};

#endif
