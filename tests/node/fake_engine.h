/* What the front end's tests tell the fake engine to do: a task's first scalar. */
#ifndef TESTS_NODE_FAKE_ENGINE_H
#define TESTS_NODE_FAKE_ENGINE_H

enum fake_command {
	FAKE_ANSWER,          /* success; see below for what is written to tensors */
	FAKE_FAIL,            /* SIMPLER_USER_STATUS + 7, with a cause and two steps */
	FAKE_HOLD,            /* keep it, until FAKE_RELEASE or SIGUSR1 */
	FAKE_RELEASE,         /* answer all that are held, the latest first, then this one */
	FAKE_EXIT,            /* end with the status of the second scalar */
	FAKE_RAISE,           /* die of the signal of the second scalar */
	FAKE_BAD_RECORD,      /* put bytes into the ring of outcomes that are no outcome */
	FAKE_BAD_TOKEN,       /* answer for a task that there is not */
	FAKE_TWICE,           /* answer twice */
	FAKE_BAD_POSITION,    /* overwrite the positions of both rings */
	FAKE_NO_BELLS,        /* zero bells and positions of both rings, and end */
	FAKE_BAD_CONTROL,     /* send bytes on control that are no outcome */
	FAKE_UNASKED_INSTALL, /* answer for a callable that was not sent */
	FAKE_CLOSE_CONTROL,   /* shut control down and live on */
	FAKE_HOLD_STOPPABLE,  /* keep it, until it is stopped as well */
	FAKE_STOPS,           /* what it was told to stop; see below */
	FAKE_FORGETS,         /* what it was told to forget; see below */
	FAKE_VITALS,          /* publish those of the second scalar from now on, and answer */
};

/* Of a node with two sub workers and two chips: */
enum fake_vitals {
	FAKE_WELL, /* all idle; what it begins with */
	FAKE_SUBS_RESTARTING,
	FAKE_CHIPS_DEAD,
	FAKE_ONE_ALIVE, /* of each kind; the others are dead */
	FAKE_HELPER_STOPPED,
	FAKE_ONE_DEVICE_SHUT,
	FAKE_DEVICES_SHUT,
	FAKE_SILENCE,       /* none, until it is told to publish others */
	FAKE_VITAL_NONSENSE /* bytes that are none */
};

/* A task that is answered with success has all its output tensors of int64 filled: an INOUT's
 * elements grow by 1; the others get element 0 the engine's pid, element 1 how many callables it
 * was sent, element 2 what its first was before, element 3 how many tasks it holds, the rest 42. */

/* FAKE_STOPS fills its first output with: how often it was told to stop a task that it holds; the
 * last such task's second scalar; how often to stop one that it does not hold. */

/* FAKE_FORGETS fills its first output with: how many callables it was told to forget; the last
 * one's key. */

/* A callable whose captured state is one of these texts is answered accordingly. */
#define FAKE_STATE_REFUSE "refuse"
#define FAKE_STATE_DIE    "die"
#define FAKE_STATE_HANG   "hang" /* not at all */
#define FAKE_STATE_STOP   "stop" /* not at all: the process stops itself */

/* Executed to load a module, it does what this environment variable says, and if there is none it
 * has loaded it. It adds a byte to the file that FAKE_TRIALS names, if that is set. */
#define FAKE_TRIAL         "SIMPLER_FAKE_TRIAL"
#define FAKE_TRIAL_REFUSE  "refuse"
#define FAKE_TRIAL_DIE     "die"     /* ends with status 6, without an answer */
#define FAKE_TRIAL_GARBAGE "garbage" /* answers what is no outcome */
#define FAKE_TRIAL_WAIT    "wait"    /* does not answer, and ends when nobody waits for it */
#define FAKE_TRIAL_STUCK   "stuck"   /* neither answers nor ends */
#define FAKE_TRIALS        "SIMPLER_FAKE_TRIALS"

/* The environment variable, and how the engine starts when it has one of these values; else well.
 */
#define FAKE_START        "SIMPLER_FAKE_START"
#define FAKE_START_REFUSE "refuse" /* says that it cannot */
#define FAKE_START_EXIT   "exit"   /* ends with status 3 */

#endif
