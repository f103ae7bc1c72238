/*
 * A line: messages between two processes that belong together and come in their order, or end it.
 *
 *   NEW --open--> ALONE --join--> JOINED --close--> CLOSED, from each
 *
 * A line has a port of its own, so that a connection that breaks ends no other line. Each end has a
 * number by which it knows what is for it (wire/line.h). It is random, and told by other means: a
 * message with another number, or from elsewhere than the line's other end says it is, is dropped.
 *
 * libfabric makes a broken connection anew and tells nobody, says nothing of a process that is
 * gone, and may have lost what was on its way. So messages are numbered, and fabric_line_check()
 * asks whether the other end is there. One message of a line is under way at a time, so that none
 * overtakes another, whatever the provider does with long ones.
 *
 * A line is part of something that is counted, its owner, of which it has a reference from its
 * opening until its port is gone, some time after it was closed.
 *
 * Threads: events are told by the fabric's loop, or by who calls fabric_line_check(), without
 * locks. Functions are for any thread, callees of events included. None blocks but
 * fabric_line_open(), for as long as a port takes to be opened.
 */
#ifndef FABRIC_LINE_H
#define FABRIC_LINE_H

#include <pthread.h>

#include "fabric/fabric.h"
#include "wire/line.h"

/* What goes in one message, and what does so without the provider having to ask for it first. */
#define FABRIC_LINE_BYTES       (FABRIC_MESSAGE_MAX - LINE_HEAD_BYTES)
#define FABRIC_LINE_QUICK_BYTES ((size_t)15 << 10)
/* How long the other end may take to answer a check, and to take that the line is closed. */
#define FABRIC_LINE_PATIENCE_MS 5000
#define FABRIC_LINE_CLOSE_MS    1000
#define FABRIC_LINE_WHY_MAX     200

struct fabric_line;

struct fabric_line_events {
	void (*hold)(struct fabric_line *line); /* its owner */
	void (*drop)(struct fabric_line *line);
	/* The other end has joined it. */
	void (*joined)(struct fabric_line *line);
	/* The bytes are the callee's until it returns. One at a time. */
	void (*received)(struct fabric_line *line, const uint8_t *bytes, size_t size);
	/* What fabric_line_send() was called with may go. */
	void (*sent)(struct fabric_line *line);
	/* Nothing comes any more, and it is to be closed. Once, unless it was closed before. */
	void (*ended)(struct fabric_line *line, const char *why);
};

enum fabric_line_state {
	FABRIC_LINE_NEW,
	FABRIC_LINE_ALONE,
	FABRIC_LINE_JOINED,
	FABRIC_LINE_CLOSED
};

struct fabric_line {
	const struct fabric_line_events *events;
	uint64_t id;          /* of this end */
	uint32_t taken;       /* messages; the loop's */
	pthread_mutex_t lock; /* before the fabric's; guards: */
	enum fabric_line_state state;
	bool ended;               /* it was told */
	bool left;                /* the other end has closed it */
	struct fabric_port *port; /* since it was opened, until it is abandoned */
	struct fabric_peer *peer; /* since it was joined */
	uint64_t peer_id;
	struct fabric_address peer_address;
	uint32_t sent;                 /* messages */
	int64_t asked_at;              /* by a check that is not answered; 0: none */
	unsigned wanted;               /* 1 << enum line_kind: to be sent, one after the other */
	char why[FABRIC_LINE_WHY_MAX]; /* of a CLOSE */
	const uint8_t *data;           /* of DATA */
	size_t size;
	bool busy; /* the operation is in progress: */
	enum line_kind kind;
	uint8_t head[LINE_HEAD_BYTES];
	struct fabric_op op;
};

/* `line` is all zero. */
void fabric_line_init(struct fabric_line *line, const struct fabric_line_events *events);
/* The other process may be told its `id` and its address then. SIMPLER_ESTATE when it was closed
 * meanwhile. */
simpler_status fabric_line_open(struct fabric_line *line, struct fabric *fabric);
/* Of one that is open, and not closed by anybody else. */
void fabric_line_address(struct fabric_line *line, struct fabric_address *out);
/* To the other end. Who comes second, and so knows that there is one, says hello to it.
 * SIMPLER_ESTATE when it was closed meanwhile. */
simpler_status fabric_line_join(struct fabric_line *line, const struct fabric_address *address,
                                uint64_t id, bool says_hello);
/* FABRIC_LINE_BYTES at the most, of a line that is joined; they stay where they are until sent()
 * is told, or until the owner's last reference is dropped. One at a time. */
void fabric_line_send(struct fabric_line *line, const uint8_t *bytes, size_t size);
/* From time to time: has an end that does not answer told as one that has ended. */
void fabric_line_check(struct fabric_line *line);
/* Nothing is told any more, but for what is being told. The other end is, `why`. Again does
 * nothing. */
void fabric_line_close(struct fabric_line *line, const char *why);
/* By its owner's last reference. */
void fabric_line_destroy(struct fabric_line *line);

#endif
