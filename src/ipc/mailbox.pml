/*
 * The mailbox protocol as a model, checked in all interleavings by scripts/check-models: what
 * mailbox.h draws, with a worker that may die at any step and is replaced. The functions named
 * beside the steps are those of mailbox.c, if no other file is.
 *
 * Checked at each step:
 *   - a slot's payload is touched by one side at a time, and by the one that owns it;
 *   - a task begins once at the most, and ends once: none is lost, none is done twice;
 *   - an outcome that is collected is the one of the slot's task;
 *   - a completion that comes after its slot was freed matches nothing;
 *   - a word to stop reaches the task that it is for, and no other.
 * And in the end: nobody sleeps while there is something to do, and every task has ended. Hints and
 * bells are all that wakes anybody here; the looks that the code takes now and then in case user
 * code overwrote them are left out on purpose.
 *
 * Two slots, two tasks and one death show all of it: a slot that is used again, and one beside it.
 *
 * Each BREAK_ leaves out something that the protocol needs. A straggler and a word to stop have
 * nothing to do with each other; searched together they would take minutes.
 *
 * check: STRAGGLERS=1
 * check: STOPS=1 TAKE_BACKS=0
 * fair:
 * fails: BREAK_SLEEP
 * fails: BREAK_HINT
 * fails: BREAK_GENERATION STRAGGLERS=1
 * fails: BREAK_EARLY_LOST
 * fails: BREAK_STOP STOPS=1
 */
#define SLOTS 2
#define TASKS 2
#define NONE  255 /* no task */

/* How often it may happen. */
#ifndef DEATHS
#define DEATHS 1
#endif
#ifndef TAKE_BACKS
#define TAKE_BACKS 1
#endif
#ifndef STOPS
#define STOPS 0
#endif
#ifndef STRAGGLERS
#define STRAGGLERS 0
#endif

mtype = { FREE, READY, RUNNING, DONE, LOST };  /* enum mailbox_state */
mtype = { WAITS, POSTED, ENDED };              /* a task, as the parent knows it */

/* --- shared memory --- */

mtype state[SLOTS] = FREE; /* these two are one word, struct mailbox_slot.word: */
byte generation[SLOTS];
bool stop[SLOTS];
byte record_of[SLOTS] = NONE; /* the payload: whose record it is, */
bool is_outcome[SLOTS];       /* and which of the two */
byte bell, sleepers;          /* struct mailbox.to_worker */
bool asleep;                  /* the worker, in futex_wait() */
bool hint;                    /* the worker's bit in control_segment.outcomes */

/* --- what is true of the processes --- */

bool alive;        /* the worker */
bool shall_die;    /* it is about to, or is killed */
byte deaths_left = DEATHS, stragglers_left = STRAGGLERS, stops_left = STOPS;
byte take_backs_left = TAKE_BACKS;

/* --- what the model watches --- */

bool parent_in[SLOTS], worker_in[SLOTS]; /* touching the payload */
byte begun[TASKS], ended[TASKS];
byte stop_meant_for[SLOTS] = NONE;
byte freed[SLOTS];
bool all_ended;

/* mailbox_move() */
inline move(slot, at, from, to, moved)
{
	atomic {
		if
		:: state[slot] == from && generation[slot] == at ->
			state[slot] = to;
			if
			:: to == FREE -> freed[slot]++;
#ifndef BREAK_GENERATION
				generation[slot]++
#endif
			:: else
			fi;
			moved = true
		:: else -> moved = false
		fi
	}
}

inline parent_enters(slot)
{
	atomic { parent_in[slot] = true; assert(!worker_in[slot]) }
}

inline worker_enters(slot)
{
	atomic { worker_in[slot] = true; assert(!parent_in[slot]) }
}

inline end(task)
{
	atomic { ended[task]++; assert(ended[task] == 1) }
}

/* --- the worker: serve_all() in worker_process.c --- */

proctype Worker()
{
	byte slot, at, ticket, task;
	bool taken;

	{
end_serves:
		do
		:: atomic { ticket = bell; slot = 0; taken = false }; /* mailbox_ticket() */
		   do                                            /* mailbox_take() */
		   :: atomic { slot < SLOTS && !taken ->         /* is_ready(): one load */
				at = generation[slot];
				taken = (state[slot] == READY)
			};
			atomic {
				if
				:: taken -> move(slot, at, READY, RUNNING, taken)
				:: else
				fi;
				slot = (taken -> slot : slot + 1)
			}
		   :: else -> break
		   od;
		   if
		   :: taken ->                                   /* serve() in worker_process.c */
			worker_enters(slot);                     /* mailbox_read() */
			atomic {
				assert(!is_outcome[slot]);
				task = record_of[slot];
				worker_in[slot] = false
			};
			if
			:: atomic { stop[slot] ->                /* mailbox_is_stopped() */
				assert(stop_meant_for[slot] == task) }
			:: atomic { !stop[slot] ->
				begun[task]++;
				assert(begun[task] == 1);
				if
				:: stragglers_left > 0 ->
					stragglers_left--;
					run Straggler(slot, at)
				:: skip
				fi }
			fi;
			atomic {                                 /* mailbox_finish() */
				worker_enters(slot);
				record_of[slot] = task;
				is_outcome[slot] = true
			};
			atomic {
				worker_in[slot] = false;
				move(slot, at, RUNNING, DONE, taken);
				assert(taken);
				at = 0;
				task = 0;
				ticket = 0
			};
			hint = true                              /* worker_process_tell() */
		   :: else ->                                    /* mailbox_wait(), doorbell.c */
			sleepers++;
			/* has_come(), with any_ready(): once more, now that it counts as asleep */
#ifndef BREAK_SLEEP
			if
			:: state[0] == READY || state[1] == READY -> sleepers--
			:: else ->
#endif
				if                               /* futex_wait() */
				:: atomic { bell == ticket -> asleep = true };
end_sleeps:
					!asleep                  /* and not counted any more */
				:: bell != ticket -> sleepers--
				fi
#ifndef BREAK_SLEEP
			fi
#endif
		   fi
		od
	} unless { shall_die };
	/* Wherever it was. The kernel reports it. */
	d_step {
		slot = 0;
		at = 0;
		ticket = 0;
		task = 0;
		taken = false;
		worker_in[0] = false;
		worker_in[1] = false;
		shall_die = false;
		asleep = false;
		alive = false
	}
}

/* Something that completes a task which it was once given, when its slot was freed since: a copy of
 * the worker, made by user code. (That no copy completes the task while it runs is seen to by
 * call() in worker_process.c.) */
proctype Straggler(byte slot; byte at)
{
	byte before = freed[slot];
	bool moved;

end_waits:
	atomic {
		freed[slot] != before && state[slot] == RUNNING;
		move(slot, at, RUNNING, DONE, moved);
		assert(!moved)
	}
}

/* A crash, or local_kill(). */
active proctype Killer()
{
end_waits:
	do
	:: atomic { alive && !shall_die && deaths_left > 0 -> shall_die = true; deaths_left-- }
	:: deaths_left == 0 -> break
	od
}

/* --- the parent: exec/local_*.c. Its threads exclude one another by the group's lock --- */

mtype known[TASKS] = WAITS;
byte task_in[SLOTS] = NONE; /* struct local_slot.task */
byte expects[SLOTS];        /* struct local_slot.generation */
bool there;                 /* struct local_child.pid */

inline forget(slot) /* local_empty_slot() */
{
	atomic { task_in[slot] = NONE; expects[slot] = generation[slot] }
}

/* mailbox_post(), then mailbox_wake() */
inline post(slot, task)
{
	atomic {
		assert(state[slot] == FREE && generation[slot] == expects[slot]);
		parent_enters(slot);
		record_of[slot] = task;
		is_outcome[slot] = false;
#ifndef BREAK_STOP
		stop[slot] = false;
#endif
		stop_meant_for[slot] = NONE
	};
	atomic {
		parent_in[slot] = false;
		move(slot, expects[slot], FREE, READY, moved);
		assert(moved);
		task_in[slot] = task;
		known[task] = POSTED
	};
	if                                                       /* doorbell_wake() */
	:: sleepers > 0 ->
		bell++;
		if                                               /* wake() in doorbell.c */
		:: atomic { asleep -> asleep = false };
			if
			:: atomic { sleepers > 0 -> sleepers-- }
			:: else
			fi
		:: else
		fi
	:: else
	fi
}

/* retract_posted() in local_tasks.c: the task is the scheduler's again, and runs elsewhere */
inline take_back(slot)
{
	atomic {
		take_backs_left--;
		move(slot, expects[slot], READY, FREE, moved);   /* mailbox_retract() */
		if
		:: moved ->
			assert(begun[task_in[slot]] == 0);
			known[task_in[slot]] = ENDED;
			end(task_in[slot]);
			forget(slot)
		:: else
		fi
	}
}

/* mailbox_stop(), without the ring: that is for next-level workers, which have other threads */
inline tell_to_stop(slot)
{
	atomic { stop_meant_for[slot] = task_in[slot]; stop[slot] = true; stops_left-- }
}

inline collect(slot) /* mailbox_collect() */
{
	atomic {
		parent_enters(slot);
		assert(is_outcome[slot] && record_of[slot] == task_in[slot])
	};
	atomic {
		parent_in[slot] = false;
		move(slot, expects[slot], DONE, FREE, moved);
		assert(moved);
		known[task_in[slot]] = ENDED;
		end(task_in[slot]);
		forget(slot)
	}
}

inline look_at(slot) /* in local_outcomes.c */
{
	if
	:: task_in[slot] != NONE && state[slot] == DONE && generation[slot] == expects[slot] ->
		collect(slot)
	:: else
	fi
}

/* mailbox_abandon(), and empty_slots() in local_births.c: what is DONE stays for the collector */
inline abandon(slot)
{
	if
	:: task_in[slot] != NONE && state[slot] == DONE && generation[slot] == expects[slot]
	:: else ->
		was = state[slot];
		if
		:: was == READY || was == RUNNING ->
			atomic {
				move(slot, expects[slot], was, LOST, moved);
				parent_enters(slot)
			}
		:: else
		fi;
		atomic { /* a store: the dead do not write */
			parent_in[slot] = false;
			state[slot] = FREE;
			freed[slot]++;
			stop[slot] = false;
#ifndef BREAK_GENERATION
			generation[slot]++
#endif
		};
		atomic {
			if
			:: task_in[slot] == NONE
			:: task_in[slot] != NONE && was == READY -> known[task_in[slot]] = WAITS
			:: task_in[slot] != NONE && was != READY ->
				known[task_in[slot]] = ENDED;
				end(task_in[slot])
			fi;
			was = FREE;
			forget(slot)
		}
	fi
}

active proctype Parent()
{
	byte slot, task;
	mtype was;
	bool moved;

	do
	:: known[0] == ENDED && known[1] == ENDED -> break
	/* local_post_queued(): the oldest goes first, to any slot that is free */
	:: atomic { there && (known[0] == WAITS || known[1] == WAITS) &&
	            (task_in[0] == NONE || task_in[1] == NONE) ->
		if
		:: task_in[0] == NONE -> slot = 0
		:: task_in[1] == NONE -> slot = 1
		fi;
		task = (known[0] == WAITS -> 0 : 1) };
		post(slot, task)
	:: task_in[0] != NONE && take_backs_left > 0 -> take_back(0)
	:: task_in[1] != NONE && take_backs_left > 0 -> take_back(1)
	:: task_in[0] != NONE && stops_left > 0 && there -> tell_to_stop(0)
	:: task_in[1] != NONE && stops_left > 0 && there -> tell_to_stop(1)
	/* find_outcomes() in local_outcomes.c */
	:: hint ->
#ifndef BREAK_HINT
		hint = false;
#endif
		look_at(0);
		look_at(1);
#ifdef BREAK_HINT
		hint = false
#endif
	/* bury() in local_births.c */
#ifdef BREAK_EARLY_LOST
	:: there && (shall_die || !alive) ->
#else
	:: there && !alive ->
#endif
		abandon(0);
		abandon(1);
		sleepers = 0;                                    /* mailbox_reset() */
		hint = true;                                     /* to_look_at */
		there = false
	/* local_start_process() */
	:: !there && !alive -> atomic { alive = true; there = true; run Worker() }
	od;
	all_ended = true
}

ltl every_task_ends { <> all_ended }
