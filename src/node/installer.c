#include "node/installer.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "ipc/install.h"
#include "os/events.h"

struct installer_waiter {
	uint64_t key;
	engine_done *done;
	void *context;
	struct installer_waiter *next;
};

void installer_init(struct installer *installer, struct catalog *catalog,
                    const struct engine_options *options)
{
	*installer = (struct installer){
		.catalog = catalog,
		.options = options,
		.step = INSTALLER_IDLE,
		.due = CLOCK_NEVER,
		.trial = TRIAL_NONE,
		.control = -1,
	};
	(void)pthread_mutex_init(&installer->lock, NULL);
}

void installer_destroy(struct installer *installer)
{
	(void)pthread_mutex_destroy(&installer->lock);
}

static void move(struct installer *installer, enum installer_step to)
{
	installer->step = to;
	installer->due = to == INSTALLER_INSTALLING ? clock_after_ms(installer->options->install_ms)
	                                            : CLOCK_NEVER;
}

/* --- those who wait --- */

/* The lock is held. Take those who wait for `key`, or all if it is 0, off the list. */
static struct installer_waiter *detach(struct installer *installer, uint64_t key)
{
	struct installer_waiter **link = &installer->waiters, *taken = NULL;

	while (*link) {
		struct installer_waiter *waiter = *link;

		if (key != 0 && waiter->key != key) {
			link = &waiter->next;
			continue;
		}
		*link = waiter->next;
		waiter->next = taken;
		taken = waiter;
	}
	return taken;
}

static void tell(struct installer_waiter *waiters, bool lost, const struct error *error)
{
	while (waiters) {
		struct installer_waiter *waiter = waiters;

		waiters = waiter->next;
		waiter->done(waiter->context, lost, error);
		free(waiter);
	}
}

/* What came of a callable. A refusal that nobody waits for is told in the log. */
static void settle(struct installer *installer, uint64_t key, const struct error *error)
{
	struct installer_waiter *waiters;

	pthread_mutex_lock(&installer->lock);
	catalog_settle(installer->catalog, key, error->status == SIMPLER_OK);
	waiters = detach(installer, key);
	pthread_mutex_unlock(&installer->lock);
	if (error->status != SIMPLER_OK && !waiters)
		simpler_log(SIMPLER_LOG_ERROR, "a callable is refused: %s",
		            error_step(error, 0) ? error_step(error, 0) : "nobody says why");
	tell(waiters, false, error);
}

/* --- a callable's way to the engine --- */

static simpler_status send_entry(int control, const struct catalog_entry *entry)
{
	struct record_install install = {
		.callable = entry->key,
		.kind = (uint8_t)entry->payload.kind,
		.has_module = true, /* an engine that knows the module closes the descriptor */
		.state_size = (uint32_t)entry->payload.state.size,
		.state = entry->payload.state.data,
	};

	memcpy(install.module_digest, entry->module.bytes, sizeof(install.module_digest));
	memcpy(install.name, entry->payload.name, sizeof(install.name));
	return install_send(control, &install, entry->module_fd);
}

static void install(struct installer *installer, const struct catalog_entry *entry)
{
	move(installer, INSTALLER_INSTALLING);
	/* An engine that cannot be told is dying: its end answers for this one. */
	if (send_entry(installer->control, entry) != SIMPLER_OK)
		simpler_log(SIMPLER_LOG_WARN, "'%s' could not be sent to the engine: %s",
		            entry->payload.name, simpler_last_error());
}

/* The callable that is at its turn, pinned; false when it is gone. */
static bool pin_current(struct installer *installer, struct catalog_entry *out)
{
	if (!catalog_next(installer->catalog, installer->current - 1, out))
		return false;
	if (out->key == installer->current)
		return true;
	catalog_unpin(installer->catalog, out->key);
	return false;
}

static void refuse(struct installer *installer, const struct catalog_entry *entry,
                   const struct error *error)
{
	struct error told = *error;

	error_add(&told, "trying out the module of '%s', before the engine gets it",
	          entry->payload.name);
	settle(installer, entry->key, &told);
}

/* The module of `current` does not load, so none of its callables that wait will: a constructor
 * that hangs is waited for once, and not for each. */
static void refuse_module(struct installer *installer, const struct error *error)
{
	struct catalog_entry first, entry = { .key = installer->current - 1 };

	move(installer, INSTALLER_IDLE);
	if (!catalog_get(installer->catalog, installer->current, &first))
		return;
	while (catalog_next(installer->catalog, entry.key, &entry)) {
		if (entry.state == CATALOG_PENDING &&
		    memcmp(&entry.module, &first.module, sizeof(entry.module)) == 0)
			refuse(installer, &entry, error);
		catalog_unpin(installer->catalog, entry.key);
	}
}

static void begin_trial(struct installer *installer, const struct catalog_entry *entry)
{
	struct error error;

	move(installer, INSTALLER_TRIAL);
	if (trial_start(&installer->trial, installer->options, entry->module_fd) == SIMPLER_OK)
		return;
	error_save(&error);
	refuse_module(installer, &error);
}

static void finish_trial(struct installer *installer)
{
	struct catalog_entry entry;
	struct error outcome;

	if (!trial_finish(&installer->trial, &outcome))
		return;
	if (outcome.status != SIMPLER_OK) {
		refuse_module(installer, &outcome);
		return;
	}
	catalog_set_tried(installer->catalog, installer->current);
	move(installer, INSTALLER_IDLE);
	if (!pin_current(installer, &entry))
		return;
	install(installer, &entry);
	catalog_unpin(installer->catalog, entry.key);
}

static void take_up(struct installer *installer, const struct catalog_entry *entry)
{
	installer->current = entry->key;
	/* What an engine has loaded, the next one will. */
	if (entry->state == CATALOG_PENDING && !catalog_is_tried(installer->catalog, entry->key))
		begin_trial(installer, entry);
	else
		install(installer, entry);
}

void installer_begin(struct installer *installer, int control)
{
	pthread_mutex_lock(&installer->lock);
	installer->control = control;
	pthread_mutex_unlock(&installer->lock);
	installer->current = 0;
	(void)installer_advance(installer);
}

int64_t installer_advance(struct installer *installer)
{
	struct catalog_entry entry;

	if (installer->control < 0)
		return CLOCK_NEVER;
	if (installer->step == INSTALLER_TRIAL)
		finish_trial(installer);
	while (installer->step == INSTALLER_IDLE &&
	       catalog_next(installer->catalog, installer->current, &entry)) {
		take_up(installer, &entry);
		catalog_unpin(installer->catalog, entry.key);
	}
	return installer->step == INSTALLER_TRIAL ? installer->trial.due : CLOCK_NEVER;
}

int installer_fd(const struct installer *installer)
{
	return installer->trial.pidfd;
}

bool installer_has(const struct installer *installer, pid_t child)
{
	return installer->trial.pidfd >= 0 && installer->trial.pid == child;
}

bool installer_is_complete(const struct installer *installer)
{
	return installer->step != INSTALLER_INSTALLING;
}

simpler_status installer_answer(struct installer *installer, uint64_t key,
                                const struct error *error)
{
	if (installer->step != INSTALLER_INSTALLING || installer->current != key)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "it answered for callable %llu, which it was not sent",
		                   (unsigned long long)key);
	move(installer, INSTALLER_IDLE);
	settle(installer, key, error);
	(void)installer_advance(installer);
	return SIMPLER_OK;
}

int64_t installer_due(const struct installer *installer)
{
	return installer->due;
}

simpler_status installer_overdue(struct installer *installer)
{
	struct catalog_entry entry;
	bool found = catalog_get(installer->catalog, installer->current, &entry);

	return error_raise(SIMPLER_EDEADLINE, "loading '%s' took longer than %g s",
	                   found ? entry.payload.name : "?",
	                   (double)installer->options->install_ms / 1000);
}

/* --- the engine's end --- */

void installer_stop(struct installer *installer)
{
	trial_abandon(&installer->trial);
}

/* The lock is held, and the engine had not answered for a callable. Returns who waits for it, and
 * what to tell. */
static struct installer_waiter *suspect(struct installer *installer, const struct error *end,
                                        struct error *out)
{
	const char *how = error_step(end, 0);
	struct catalog_entry entry;

	*out = *end;
	if (!catalog_get(installer->catalog, installer->current, &entry))
		return NULL;
	error_add(out, "loading '%s'", entry.payload.name);
	if (catalog_blame(installer->catalog, entry.key))
		simpler_log(SIMPLER_LOG_ERROR,
		            "'%s' (callable %llu, version %llu) is dropped: %u engines in a row "
		            "ended while they loaded it, and of the last one: %s",
		            entry.payload.name, (unsigned long long)entry.callable_id,
		            (unsigned long long)entry.version, CATALOG_MOST_DEATHS, how);
	return detach(installer, entry.key);
}

void installer_end(struct installer *installer, const struct error *error)
{
	struct installer_waiter *waiters, *suspects = NULL;
	struct catalog_entry entry = { .key = 0 };
	struct error suspicion;

	pthread_mutex_lock(&installer->lock);
	if (installer->step == INSTALLER_INSTALLING)
		suspects = suspect(installer, error, &suspicion);
	installer->control = -1;
	move(installer, INSTALLER_IDLE);
	while (catalog_next(installer->catalog, entry.key, &entry)) {
		if (entry.state == CATALOG_PENDING)
			catalog_settle(installer->catalog, entry.key, false);
		catalog_unpin(installer->catalog, entry.key);
	}
	waiters = detach(installer, 0);
	pthread_mutex_unlock(&installer->lock);
	tell(suspects, true, &suspicion);
	tell(waiters, true, error);
}

/* The lock is held. */
static simpler_status add_waiter(struct installer *installer, uint64_t key, engine_done *done,
                                 void *context)
{
	struct installer_waiter *waiter = malloc(sizeof(*waiter));

	if (!waiter)
		return error_raise(SIMPLER_ENOMEM, "out of memory for installing a callable");
	*waiter = (struct installer_waiter){ key, done, context, installer->waiters };
	installer->waiters = waiter;
	events_wake(installer->options->wakeup);
	return SIMPLER_OK;
}

simpler_status installer_wait(struct installer *installer, uint64_t key, engine_done *done,
                              void *context)
{
	const struct error none = { .status = SIMPLER_OK };
	simpler_status status = SIMPLER_OK;
	struct catalog_entry entry;
	bool known = false;

	pthread_mutex_lock(&installer->lock);
	if (!catalog_get(installer->catalog, key, &entry)) {
		status = error_raise(SIMPLER_EUNAVAILABLE,
		                     "the callable could not be installed for somebody else who "
		                     "pushed it at the same time; push it again");
	} else if (entry.state != CATALOG_PENDING) {
		known = true;
	} else if (installer->control < 0) {
		catalog_settle(installer->catalog, key, false);
		status = error_raise(SIMPLER_EUNAVAILABLE,
		                     "the node's engine is being restarted; push it again");
	} else {
		status = add_waiter(installer, key, done, context);
	}
	pthread_mutex_unlock(&installer->lock);
	if (known)
		done(context, false, &none);
	return status;
}
