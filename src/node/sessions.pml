/*
 * The sessions of a daemon as a model, checked in all interleavings by scripts/check-models: one
 * session number, a client that attaches with it, renews, detaches, or stops without a word, calls
 * of it that come at any time and may outlast it, and the time to live that may pass at any moment.
 * The functions named beside the steps are those of sessions.c, if no other file is. A step that is
 * atomic here is one hold of `lock` there, or one owner's call.
 *
 * A session that is over may be followed by another of the same number: a life. Checked:
 *   - an owner hears of the end of each life once, and of none that goes on;
 *   - that is after the life's last call, so nothing becomes its own behind its end;
 *   - a life begins only when all owners have heard of the end of the one before, so nothing that
 *     belonged to that one is taken for its own;
 *   - a session is freed once, and nobody uses it afterwards;
 *   - a call that was let in belongs to one life from its beginning to its end.
 * And in the end, when the client is gone for good: no session is left, and each life has ended.
 *
 * A renewal is told without the lock, and may come behind the end; an owner then finds nothing that
 * is the session's. It is left out here. The death of the daemon needs no model: what it had is gone
 * with it, and the number that it drew at its start tells clients so.
 *
 * Each BREAK_ leaves out something that this needs.
 *
 * check:
 * fair:
 * fails: BREAK_EARLY_GONE
 * fails: BREAK_UNCOUNTED
 * fails: BREAK_LET_IN
 */
#define CALLS    3
#define ATTACHES 3
#define OWNERS   2

/* --- the table's only session, under the lock --- */

bool there;    /* in the table, and allocated */
byte calls;    /* struct session.calls */
bool ending, detached;

/* --- what the model watches --- */

byte lives;               /* that began */
byte ends_heard[OWNERS];  /* of lives, by each owner */
byte inside[ATTACHES + 1]; /* calls in progress, by the life that they belong to */
byte finishing;           /* threads in finish() */
bool client_gone;
byte calls_over;

/* is_over() */
inline look_whether_over(over)
{
	over = ending && calls == 0
}

/* finish(): without the lock */
inline finish()
{
	atomic { finishing++; assert(finishing == 1); assert(inside[lives] == 0) };
	atomic { ends_heard[0]++; assert(ends_heard[0] == lives) };
#ifdef BREAK_EARLY_GONE
	atomic { there = false };
#endif
	atomic { ends_heard[1]++; assert(ends_heard[1] == lives) };
	atomic {
#ifndef BREAK_EARLY_GONE
		assert(there && calls == 0);
		there = false;
#endif
		finishing--
	}
}

/* sessions_attach(): renews what is there, or begins a life; what is ENDING is left alone */
inline attach()
{
	atomic {
		if
		:: there && !ending /* renewed; it is not late then, see sessions_expire() */
		:: there && ending
		:: !there && lives < ATTACHES ->
			assert(ends_heard[0] == lives && ends_heard[1] == lives);
			lives++;
			there = true;
			calls = 0;
			ending = false;
			detached = false
		:: else
		fi
	}
}

/* sessions_detach() */
inline detach()
{
	atomic {
		over = false;
		if
		:: there && !ending ->
			ending = true;
			detached = true;
			look_whether_over(over)
		:: else
		fi
	};
	if
	:: over -> finish()
	:: else
	fi
}

/* The client: node_session.c. It may stop at any step without a word. */
active proctype Client()
{
	bool over;
	byte left = ATTACHES;

	do
	:: left > 0 -> attach(); left--
	:: left > 0 -> detach(); left--
	:: break
	od;
	client_gone = true
}

/* A call, in a thread of the RPC server's: what it makes here becomes the session's. */
active [CALLS] proctype Call()
{
	bool over, attached;
	byte life;

	atomic {                                                 /* sessions_enter() */
#ifdef BREAK_LET_IN
		attached = there;
#else
		attached = there && !ending;
#endif
		if
		:: attached ->
#ifndef BREAK_UNCOUNTED
			calls++;
#endif
			life = lives;
			inside[life]++
		:: else
		fi
	};
	if
	:: attached ->
		/* Makes something, at any time. */
		atomic {
			assert(there && life == lives);
			assert(ends_heard[0] < life && ends_heard[1] < life)
		};
		atomic {                                         /* sessions_leave() */
			assert(there);
			inside[life]--;
#ifndef BREAK_UNCOUNTED
			assert(calls > 0);
			calls--;
#endif
			look_whether_over(over)
		};
		if
		:: over -> finish()
		:: else
		fi
	:: else
	fi;
	calls_over++
}

/* sessions_expire(), in a thread of the daemon's. When the time to live is over is left open, but
 * when the client is gone it is over at length. */
active proctype Expirer()
{
	bool over;

end_waits:
	do
	:: atomic { there && !ending ->                          /* take_expired() */
		ending = true;
		look_whether_over(over) };
	   if
	   :: over -> finish()
	   :: else
	   fi
	od
}

/* When all that comes by itself has come. */
active proctype End()
{
	client_gone && calls_over == CALLS;
	!there;
	assert(ends_heard[0] == lives && ends_heard[1] == lives && calls == 0)
}

ltl no_session_outlives_its_client { [] (client_gone -> <> !there) }
