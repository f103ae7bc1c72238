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

/* The lock is held. */
static void set_outstanding(struct installer *installer, bool outstanding)
{
	installer->outstanding = outstanding;
	installer->due = outstanding ? clock_after_ms(installer->install_ms) : CLOCK_NEVER;
}

void installer_init(struct installer *installer, struct catalog *catalog,
                    const struct engine_options *options)
{
	installer->catalog = catalog;
	installer->install_ms = options->install_ms;
	installer->wakeup = options->wakeup;
	(void)pthread_mutex_init(&installer->lock, NULL);
	installer->control = -1;
	installer->sent = 0;
	set_outstanding(installer, false);
	installer->waiters = NULL;
}

void installer_destroy(struct installer *installer)
{
	(void)pthread_mutex_destroy(&installer->lock);
}

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

/* The lock is held. Send the next callable that the engine has not got; false: there is none. */
static bool send_next(struct installer *installer)
{
	struct catalog_entry entry;

	if (!catalog_next(installer->catalog, installer->sent, &entry))
		return false;
	installer->sent = entry.key;
	set_outstanding(installer, true);
	/* An engine that cannot be told is dying: its end answers for this one. */
	if (send_entry(installer->control, &entry) != SIMPLER_OK)
		simpler_log(SIMPLER_LOG_WARN, "'%s' could not be sent to the engine: %s",
		            entry.payload.name, simpler_last_error());
	catalog_unpin(installer->catalog, entry.key);
	return true;
}

bool installer_begin(struct installer *installer, int control)
{
	bool complete;

	pthread_mutex_lock(&installer->lock);
	installer->control = control;
	installer->sent = 0;
	complete = !send_next(installer);
	pthread_mutex_unlock(&installer->lock);
	return complete;
}

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

simpler_status installer_answer(struct installer *installer, uint64_t key,
                                const struct error *error, bool *complete)
{
	struct installer_waiter *waiters = NULL;
	bool asked;

	pthread_mutex_lock(&installer->lock);
	asked = installer->outstanding && installer->sent == key;
	if (asked) {
		set_outstanding(installer, false);
		catalog_settle(installer->catalog, key, error->status == SIMPLER_OK);
		waiters = detach(installer, key);
		*complete = !send_next(installer);
	}
	pthread_mutex_unlock(&installer->lock);
	if (!asked)
		return error_raise(SIMPLER_EPROTOCOL,
		                   "it answered for callable %llu, which it was not sent",
		                   (unsigned long long)key);
	if (error->status != SIMPLER_OK && !waiters)
		simpler_log(SIMPLER_LOG_ERROR, "the engine refuses a callable: %s",
		            error_step(error, 0) ? error_step(error, 0) : "it does not say why");
	tell(waiters, false, error);
	return SIMPLER_OK;
}

int64_t installer_due(struct installer *installer)
{
	int64_t due;

	pthread_mutex_lock(&installer->lock);
	due = installer->due;
	pthread_mutex_unlock(&installer->lock);
	return due;
}

simpler_status installer_overdue(struct installer *installer)
{
	struct catalog_entry entry;
	bool found;

	pthread_mutex_lock(&installer->lock);
	found = catalog_get(installer->catalog, installer->sent, &entry);
	pthread_mutex_unlock(&installer->lock);
	return error_raise(SIMPLER_EDEADLINE, "loading '%s' took longer than %g s",
	                   found ? entry.payload.name : "?", (double)installer->install_ms / 1000);
}

/* The lock is held, and a callable is outstanding. Returns who waits for it, and what to tell. */
static struct installer_waiter *suspect(struct installer *installer, const struct error *end,
                                        struct error *out)
{
	const char *how = error_step(end, 0);
	struct catalog_entry entry;

	*out = *end;
	if (!catalog_get(installer->catalog, installer->sent, &entry))
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
	if (installer->outstanding)
		suspects = suspect(installer, error, &suspicion);
	installer->control = -1;
	set_outstanding(installer, false);
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
	if (!installer->outstanding && send_next(installer))
		events_wake(installer->wakeup);
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
