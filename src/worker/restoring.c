/*
 * Nodes that have come back are told every callable, by a thread that the first of them starts. It
 * takes one node after the other, and of a node one callable after the other.
 *
 * What is registered meanwhile passes the node over, as that was away when it began. So the thread
 * starts over as long as anything became PRESENT since it began, and waits for what is COMING; only
 * then does the node take part again. A node that is lost once more is not, and will be told again
 * when it returns.
 */
#include <stdlib.h>
#include <utlist.h>

#include "worker/registration_state.h"

static struct returning *find_node(struct registration *registration,
                                   const struct exec_child *child)
{
	const struct worker_core *core = registration->core;
	uint32_t at = 0;

	while (core->children[at].child != child)
		at++;
	return &registration->nodes[at];
}

/* --- one question --- */

struct question {
	struct exec_request request; /* first */
	struct registration *registration;
	bool answered;
	simpler_status status;
	struct error error;
};

static void on_answer(struct exec_request *request, const struct error *error)
{
	struct question *question = (struct question *)request;
	struct registration *registration = question->registration;

	pthread_mutex_lock(&registration->lock);
	question->status = error ? error->status : SIMPLER_OK;
	if (error)
		question->error = *error;
	question->answered = true;
	(void)pthread_cond_broadcast(&registration->changed);
	pthread_mutex_unlock(&registration->lock);
}

static simpler_status ask(struct registration *registration, struct exec_child *child,
                          enum exec_wish wish, const struct exec_callable *callable)
{
	struct question question = {
		.request = { .wish = wish, .callable = callable, .done = on_answer },
		.registration = registration,
	};

	child->ops->ask(child, &question.request);
	pthread_mutex_lock(&registration->lock);
	while (!question.answered)
		(void)pthread_cond_wait(&registration->changed, &registration->lock);
	pthread_mutex_unlock(&registration->lock);
	return question.status == SIMPLER_OK ? SIMPLER_OK : error_restore(&question.error);
}

/* --- all of a node --- */

/* What runs took for themselves is on no node. */
static bool is_wanted(struct registration *registration, const struct exec_child *child,
                      const struct exec_callable *callable)
{
	bool shipped;

	pthread_mutex_lock(&registration->lock);
	shipped = callable->shipment != NULL;
	pthread_mutex_unlock(&registration->lock);
	return shipped && registration_runs(child, callable);
}

static simpler_status tell_one(struct registration *registration, struct exec_child *child,
                               const struct exec_callable *callable)
{
	simpler_status status;

	if (!is_wanted(registration, child, callable))
		return SIMPLER_OK;
	status = ask(registration, child, EXEC_PREPARE, callable);
	return status == SIMPLER_OK ? ask(registration, child, EXEC_COMMIT, callable) : status;
}

static simpler_status tell_all(struct registration *registration, struct exec_child *child)
{
	struct callables *callables = registration->core->callables;
	simpler_status status = SIMPLER_OK;

	for (uint32_t i = 0; i < CALLABLES_MAX && status == SIMPLER_OK; i++) {
		struct exec_callable *callable = callables_in_use_at(callables, i);

		if (!callable)
			continue;
		status = tell_one(registration, child, callable);
		callables_release(callables, callable);
	}
	return status;
}

/* Under the lock. */
static bool is_any_coming(const struct registration *registration)
{
	const struct shipment *shipment;

	DL_FOREACH (registration->shipments, shipment) {
		if (shipment->state == COMING)
			return true;
	}
	return false;
}

/* Whether the node knows all that there is; it takes part again from then on. */
static bool settle(struct registration *registration, struct returning *node, uint64_t shipped,
                   uint32_t losses)
{
	bool settled;

	pthread_mutex_lock(&registration->lock);
	while (is_any_coming(registration) && !registration->closed)
		(void)pthread_cond_wait(&registration->changed, &registration->lock);
	settled =
		shipped == registration->shipped || node->losses != losses || registration->closed;
	if (settled && node->losses == losses)
		node->away = false;
	pthread_mutex_unlock(&registration->lock);
	return settled;
}

static void restore(struct registration *registration, struct exec_child *child)
{
	struct returning *node = find_node(registration, child);
	uint64_t life = child->ops->life(child), shipped;
	simpler_status status;
	struct error error;
	uint32_t losses;

	do {
		pthread_mutex_lock(&registration->lock);
		shipped = registration->shipped;
		losses = node->losses;
		pthread_mutex_unlock(&registration->lock);
		status = tell_all(registration, child);
	} while (status == SIMPLER_OK && !settle(registration, node, shipped, losses));
	if (status != SIMPLER_OK)
		error_save(&error);
	child->ops->admit(child, life, status == SIMPLER_OK ? NULL : &error);
}

/* --- the thread --- */

/* Under the lock. */
static struct exec_child *take_wanted(struct registration *registration)
{
	for (uint32_t i = 0; i < registration->core->child_count; i++) {
		if (!registration->nodes[i].wanted)
			continue;
		registration->nodes[i].wanted = false;
		return registration->core->children[i].child;
	}
	return NULL;
}

static void *restorer_main(void *context)
{
	struct registration *registration = context;

	pthread_mutex_lock(&registration->lock);
	while (!registration->closed) {
		struct exec_child *child = take_wanted(registration);

		if (!child) {
			(void)pthread_cond_wait(&registration->changed, &registration->lock);
			continue;
		}
		pthread_mutex_unlock(&registration->lock);
		restore(registration, child);
		pthread_mutex_lock(&registration->lock);
	}
	pthread_mutex_unlock(&registration->lock);
	return NULL;
}

/* Under the lock. */
static simpler_status start_restorer(struct registration *registration)
{
	int failure;

	if (registration->has_restorer || registration->closed)
		return SIMPLER_OK;
	failure = pthread_create(&registration->restorer, NULL, restorer_main, registration);
	if (failure != 0)
		return error_raise_errno(SIMPLER_ESYSTEM, failure,
		                         "starting the thread that registers with nodes again");
	registration->has_restorer = true;
	return SIMPLER_OK;
}

void registration_lost(struct registration *registration, const struct exec_child *child)
{
	struct returning *node = find_node(registration, child);

	pthread_mutex_lock(&registration->lock);
	node->away = true;
	node->losses++;
	pthread_mutex_unlock(&registration->lock);
}

void registration_returned(struct registration *registration, struct exec_child *child)
{
	struct returning *node = find_node(registration, child);
	simpler_status status;
	struct error error;

	pthread_mutex_lock(&registration->lock);
	status = start_restorer(registration);
	node->wanted = status == SIMPLER_OK;
	(void)pthread_cond_broadcast(&registration->changed);
	pthread_mutex_unlock(&registration->lock);
	if (status == SIMPLER_OK)
		return;
	error_save(&error);
	child->ops->admit(child, child->ops->life(child), &error);
}

void registration_join(struct registration *registration)
{
	if (registration->has_restorer)
		(void)pthread_join(registration->restorer, NULL);
	registration->has_restorer = false;
}
