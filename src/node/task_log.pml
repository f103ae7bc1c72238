/*
 * How a task of a session is run once at the most, as a model, checked in all interleavings by
 * scripts/check-models: the states of task_log.h with its node, its engine, and a parent that sends
 * a dispatch again when its connection broke. Functions are those of task_log.c, or of the file
 * named beside a step. A step that is atomic here is one hold of a lock there.
 *
 * A connection may break at any moment: before its message came, after it was answered, or so that
 * the message comes when the next one has been sent, or answered, already: a node that was stopped
 * for a while finds both at once. The engine may die with what it has, and so may the node with all
 * that it knows; the session may be over as soon as nothing of it is in progress. Checked:
 *   - a dispatch runs once at the most, in however many lives of its session;
 *   - what has become of it is recorded once, and whoever asks again is told that;
 *   - who is told that it was not run may run it elsewhere: it never runs here afterwards;
 *   - the outcome of a task that was stopped since nobody asked for it is not taken for its own;
 *   - a parent does not wait for ever.
 *
 * With LANES, what carries a dispatch may be closed by another thread while it is taken
 * (node/lane.c); then also:
 *   - once that is over, no task waits for a lane that is closed, so that one that nobody asks for
 *     again is stopped.
 * A dispatch that lies unread at the node when its lane dies, and one by another lane after it, are
 * two connections here.
 *
 * Left out is what StopTask does. Assumed is that a first message which is overtaken by the next
 * one comes before its task's answer is forgotten, which takes TASK_LOG_OF_SESSION others that end
 * meanwhile, or TASK_LOG_BYTES of answers; LATE shows that nothing else keeps it from
 * running again.
 *
 * One task shows all of it; its answer may be forgotten at any moment, as if others had ended.
 * Each other macro leaves out something that this needs.
 *
 * check:
 * check: CRASHES=0 SENDS=3
 * check: LANES
 * fails: LATE
 * fails: BREAK_HOLD
 * fails: BREAK_JOIN
 * fails: BREAK_LIFE
 * fails: BREAK_FORGOT
 * fails: BREAK_NOTE
 * fails: BREAK_ABANDONED
 * fails: BREAK_ABORTED
 * fails: LANES BREAK_LEAVE
 */
#ifndef SENDS
#define SENDS 2 /* MAX_SENT in exec/remote_dispatch.c */
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#define NONE     255
#define FIRST(c) ((c) == 0) /* else it is `repeated` */

mtype = { UNKNOWN, OPEN, HELD, ABANDONED, ENDED }; /* enum entry_state */
mtype = { NOTHING, DID, STOPPED, LOST, NOT_RUN, REFUSED, ABORTED }; /* answers */

/* --- calls, each on a connection of its own --- */

bool sent[SENDS], broken[SENDS];
byte life_in[SENDS]; /* msg_dispatch.session_life */
mtype got[SENDS] = NOTHING;
bool finished[SENDS]; /* by the node */
bool dead[SENDS];     /* with the node */
#ifdef LANES
bool closed[SENDS], left[SENDS], taken[SENDS];
#endif

/* --- the node --- */

byte life;     /* of the session, sessions.c */
byte inside;   /* calls and tasks of it in progress */
bool forgot;   /* struct session_log.forgot */
mtype state = UNKNOWN;
byte call_of = NONE;
mtype answer_of = NOTHING; /* while ENDED */
bool to_stop;
byte crashes_left = CRASHES, boots;

/* --- what the model watches --- */

byte runs;
mtype recorded = NOTHING;
bool not_run; /* the parent was told so */
/* For what is assumed: the first message is about to be looked at, or would come too late. */
bool arriving, overtaken;

/* rpc_finish(); what a broken connection carries does not come */
inline tell(c, what)
{
	assert(!finished[c]);
	finished[c] = true;
	if
	:: broken[c]
	:: !broken[c] -> got[c] = what
	fi
}

/* end() */
inline record(what)
{
	assert(state != UNKNOWN && state != ENDED && recorded == NOTHING);
	recorded = what;
	if
	:: call_of != NONE -> tell(call_of, what)
	:: else
	fi;
	call_of = NONE;
	state = ENDED;
	answer_of = what
}

/* A task in the engine, with dispatch_done() in service_worker.c. */
proctype Run(byte born)
{
	mtype outcome = LOST;

	{
		if
		:: atomic { !to_stop ->
			runs++;
			assert(runs == 1 && !not_run) };
			if
			:: outcome = DID
			:: atomic { to_stop -> outcome = STOPPED }
			:: skip /* the engine died */
			fi
		:: atomic { to_stop -> outcome = STOPPED }
		:: skip
		fi;
#ifndef BREAK_ABANDONED
		outcome = (state == ABANDONED -> LOST : outcome); /* task_log_is_abandoned() */
#endif
		atomic { boots == born -> record(outcome) };    /* task_log_end() */
		atomic { boots == born -> inside-- }             /* sessions_leave_task() */
	} unless { boots != born }
}

/* task_log_begin() */
inline begin(c)
{
	if
	:: state == UNKNOWN && forgot && !FIRST(c) ->
#ifdef BREAK_FORGOT
		state = OPEN; call_of = c; is_new = true
#else
		tell(c, LOST)
#endif
	:: state == UNKNOWN && (!forgot || FIRST(c)) ->
		state = OPEN;
		call_of = c;
		is_new = true
	:: state == ENDED ->
		assert(answer_of == recorded);
		tell(c, answer_of)
	:: else ->
		if
		:: call_of != NONE -> tell(call_of, ABORTED)
		:: else
		fi;
#ifndef BREAK_JOIN
		call_of = c;
#endif
		state = (state == HELD -> OPEN : state)
	fi
}

/* task_log_drop(), and begin_logged() in service_worker.c. Who joined meanwhile gets no note. */
inline drop(c)
{
	if
	:: call_of == NONE
	:: call_of == c ->
#ifdef BREAK_NOTE
		tell(c, NOT_RUN)
#else
		tell(c, (FIRST(c) -> NOT_RUN : LOST))
#endif
	:: else -> tell(call_of, REFUSED)
	fi;
	call_of = NONE;
	state = UNKNOWN
}

/* task_log_leave() */
inline leave(c)
{
	if
	:: !finished[c] && call_of == c ->
		call_of = NONE;
		finished[c] = true;
		if
#ifdef BREAK_HOLD
		:: state == OPEN -> state = UNKNOWN
#else
		:: state == OPEN -> state = HELD
#endif
		:: else
		fi
	:: else
	fi
}

#ifdef LANES
/* node_lane_close() of another thread */
proctype Close(byte c)
{
	{
		skip;
end_waits:
		atomic { broken[c] -> closed[c] = true };
		atomic { leave(c); left[c] = true; assert(!taken[c] || call_of != c) }
	} unless { dead[c] }
}
#endif

/* serve() in service_worker.c, then dispatch_cancelled(). They do not overlap. With LANES, take()
 * and leave_again() in lane.c. */
proctype Call(byte c)
{
	bool is_new;

	{
		atomic {                         /* enter_session() */
			if
			:: broken[c] -> goto over /* the message did not come */
#ifdef LATE
			:: true
#else
			:: !overtaken || !FIRST(c)
#endif
			fi;
			if
#ifndef BREAK_LIFE
			:: life_in[c] != life ->
				tell(c, (FIRST(c) -> NOT_RUN : LOST));
				goto over
#endif
			:: else -> inside++; arriving = arriving || FIRST(c)
			fi
		};
		atomic { begin(c); arriving = arriving && !FIRST(c) };
		if
		:: is_new ->
			if
			:: atomic { inside++; to_stop = false; run Run(boots) }
			:: atomic { drop(c) } /* there is no room, or it drains */
			fi
		:: else
		fi;
		atomic { inside-- };             /* node_leave() */
#ifdef LANES
		atomic {
			if
#ifndef BREAK_LEAVE
			:: closed[c] -> leave(c)
#endif
			:: else
			fi;
			taken[c] = true;
			assert(!left[c] || call_of != c)
		};
#else
end_waits:
		atomic { broken[c] || finished[c]; leave(c) };
#endif
over:		skip
	} unless { dead[c] }
}

/* task_log_next_due(), and forget(): of a task that is HELD the time may be over at any moment, and
 * there may be no room for an answer */
active proctype Time()
{
end_waits:
	do
	:: atomic { state == HELD -> state = ABANDONED; to_stop = true }
#ifdef LATE
	:: atomic { state == ENDED ->
#else
	:: atomic { state == ENDED && !arriving ->
#endif
		state = UNKNOWN;
		answer_of = NOTHING;
		forgot = true;
		overtaken = true }
	od
}

inline forget_all()
{
	life++;
	forgot = false;
	state = UNKNOWN;
	call_of = NONE;
	answer_of = NOTHING
}

/* The session is over, see sessions.pml, or the node is. The parent attaches it anew. */
active proctype Ends()
{
	byte c, ends_left = 1;

end_waits:
	do
	:: atomic { ends_left > 0 && inside == 0 -> ends_left--; forget_all() }
	:: atomic { crashes_left > 0 ->
		crashes_left--;
		boots++;
		inside = 0;
		arriving = false;
		forget_all();
		for (c : 0 .. SENDS - 1) {
			broken[c] = broken[c] || sent[c];
			dead[c] = sent[c]
		}
		c = 0 }
	od
}

/* The parent: dispatch() and on_outcome() in exec/remote_dispatch.c */
active proctype Parent()
{
	byte n, c, mine = life;
	mtype how = NOTHING;

	do
	:: n < SENDS && how == NOTHING ->
		atomic {
			c = n;
			n++;
			life_in[c] = mine;
			sent[c] = true;
#ifdef LANES
			run Close(c);
#endif
			run Call(c)
		};
		if
		:: atomic { got[c] != NOTHING -> how = got[c] }
		:: n < SENDS -> broken[c] = true /* at any moment; not the last one */
		:: atomic { broken[c] -> skip }
		fi;
		/* is_cut_off() */
		if
		:: how == REFUSED -> how = NOTHING
#ifndef BREAK_ABORTED
		:: how == ABORTED -> how = NOTHING
#endif
		:: else
		fi
	:: else -> break
	od;
	atomic {
		assert(how != STOPPED && how != ABORTED);
		assert(how != DID || (runs == 1 && recorded == DID));
		if
		:: how == NOT_RUN -> not_run = true; assert(runs == 0)
		:: else
		fi
	}
}
