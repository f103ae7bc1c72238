#include "worker/registration_state.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/log.h"

struct registration *registration_create(struct worker_core *core)
{
	struct registration *registration = calloc(1, sizeof(*registration));

	if (!registration)
		return NULL;
	registration->core = core;
	(void)pthread_mutex_init(&registration->lock, NULL);
	(void)pthread_cond_init(&registration->changed, NULL);
	return registration;
}

void registration_close(struct registration *registration)
{
	pthread_mutex_lock(&registration->lock);
	registration->closed = true;
	(void)pthread_cond_broadcast(&registration->changed);
	while (registration->asking > 0)
		(void)pthread_cond_wait(&registration->changed, &registration->lock);
	pthread_mutex_unlock(&registration->lock);
}

void registration_destroy(struct registration *registration)
{
	struct shipment *shipment, *next;

	DL_FOREACH_SAFE (registration->shipments, shipment, next)
		free(shipment);
	(void)pthread_cond_destroy(&registration->changed);
	(void)pthread_mutex_destroy(&registration->lock);
	free(registration);
}

/* Under the lock. */
static struct shipment *find(const struct registration *registration, const struct digest *digest)
{
	struct shipment *shipment;

	DL_FOREACH (registration->shipments, shipment) {
		if (memcmp(&shipment->digest, digest, sizeof(*digest)) == 0)
			break;
	}
	return shipment;
}

/* Under the lock: it is nowhere, and all that wait for it may try. */
static void remove_shipment(struct shipment *shipment)
{
	struct registration *registration = shipment->registration;

	DL_DELETE(registration->shipments, shipment);
	(void)pthread_cond_broadcast(&registration->changed);
	free(shipment);
}

/* --- one step at all nodes --- */

/* Under the lock. */
static void note_failure(struct shipment *shipment, uint32_t at, const struct error *error)
{
	if (!shipment->failed || at < shipment->failed_at) {
		if (shipment->error)
			*shipment->error = *error;
		shipment->failed_at = at;
	}
	shipment->failed = true;
}

static void on_answer(struct exec_request *request, const struct error *error);

/* As if it had answered. */
static void pass_over(struct shipment *shipment)
{
	pthread_mutex_lock(&shipment->registration->lock);
	shipment->open--;
	pthread_mutex_unlock(&shipment->registration->lock);
}

/* Under the lock, which is given up meanwhile. The asking itself counts as an answer to come, so
 * that the last answer finds all asked. */
static void ask_all(struct shipment *shipment, enum exec_wish wish,
                    const struct exec_callable *callable)
{
	struct registration *registration = shipment->registration;

	shipment->open = shipment->node_count + 1;
	shipment->failed = false;
	pthread_mutex_unlock(&registration->lock);
	for (uint32_t i = 0; i < shipment->node_count; i++) {
		struct asked *asked = &shipment->nodes[i];

		if (asked->passed_over && wish != EXEC_WITHDRAW) {
			pass_over(shipment);
			continue;
		}
		asked->request.wish = wish;
		asked->request.callable = callable;
		asked->child->ops->ask(asked->child, &asked->request);
	}
	pthread_mutex_lock(&registration->lock);
	shipment->open--;
}

/* Under the lock: ask and wait for all answers. */
static bool do_step(struct shipment *shipment, enum exec_wish wish,
                    const struct exec_callable *callable)
{
	struct registration *registration = shipment->registration;

	ask_all(shipment, wish, callable);
	while (shipment->open > 0)
		(void)pthread_cond_wait(&registration->changed, &registration->lock);
	return !shipment->failed;
}

/* --- on to the nodes --- */

/* A function of this program is for children of its machine. */
bool registration_runs(const struct exec_child *child, const struct exec_callable *callable)
{
	return child->runs == callable->kind && !child->local &&
	       callable->source != RECORD_FROM_PROGRAM;
}

static uint32_t count_nodes(const struct worker_core *core, const struct exec_callable *callable)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < core->child_count; i++)
		count += registration_runs(core->children[i].child, callable);
	return count;
}

/* Under the lock. */
static simpler_status make(struct registration *registration, const struct exec_callable *callable,
                           uint32_t node_count, struct shipment **out)
{
	const struct worker_core *core = registration->core;
	struct shipment *shipment =
		calloc(1, sizeof(*shipment) + node_count * sizeof(shipment->nodes[0]));

	if (!shipment)
		return error_raise(SIMPLER_ENOMEM, "out of memory for registering '%s'",
		                   callable->name);
	shipment->registration = registration;
	shipment->digest = callable->digest;
	for (uint32_t i = 0; i < core->child_count; i++) {
		struct asked *asked = &shipment->nodes[shipment->node_count];

		if (!registration_runs(core->children[i].child, callable))
			continue;
		asked->request.done = on_answer;
		asked->shipment = shipment;
		asked->child = core->children[i].child;
		asked->passed_over = registration->nodes[i].away;
		shipment->node_count++;
	}
	DL_APPEND(registration->shipments, shipment);
	*out = shipment;
	return SIMPLER_OK;
}

/* Under the lock: from COMING to PRESENT, or to nowhere, with the reason. */
static bool bring(struct shipment *shipment, struct exec_callable *callable, struct error *error)
{
	bool committing, done;

	shipment->error = error;
	committing = do_step(shipment, EXEC_PREPARE, callable);
	done = committing && do_step(shipment, EXEC_COMMIT, callable);
	shipment->error = NULL;
	if (done) {
		shipment->state = PRESENT;
		shipment->registration->shipped++;
		(void)pthread_cond_broadcast(&shipment->registration->changed);
		return true;
	}
	(void)do_step(shipment, EXEC_ABORT, callable);
	if (committing)
		(void)do_step(shipment, EXEC_WITHDRAW, callable);
	remove_shipment(shipment);
	return false;
}

/* Under the lock: until it is PRESENT or nowhere. */
static struct shipment *settled(struct registration *registration, const struct digest *digest)
{
	struct shipment *shipment;

	while ((shipment = find(registration, digest)) != NULL && shipment->state != PRESENT)
		(void)pthread_cond_wait(&registration->changed, &registration->lock);
	return shipment;
}

/* Under the lock. */
static simpler_status ship(struct registration *registration, struct exec_callable *callable,
                           uint32_t node_count)
{
	struct shipment *shipment = settled(registration, &callable->digest);
	struct error error;
	simpler_status status;

	if (callable->shipment)
		return SIMPLER_OK;
	if (!shipment) {
		status = make(registration, callable, node_count, &shipment);
		if (status != SIMPLER_OK)
			return status;
		if (!bring(shipment, callable, &error))
			return error_restore(&error);
	}
	shipment->needed++;
	callable->shipment = shipment;
	return SIMPLER_OK;
}

simpler_status registration_ship(struct registration *registration, struct exec_callable *callable)
{
	uint32_t node_count = count_nodes(registration->core, callable);
	simpler_status status;

	if (node_count == 0)
		return SIMPLER_OK;
	pthread_mutex_lock(&registration->lock);
	status = ship(registration, callable, node_count);
	pthread_mutex_unlock(&registration->lock);
	return status;
}

/* --- and off again --- */

/* Under the lock: from GOING to nowhere. Returns the entry to be forgotten, if that is all. */
static struct exec_callable *note_answered(struct shipment *shipment)
{
	struct exec_callable *last = shipment->last;

	if (shipment->open > 0)
		return NULL;
	(void)pthread_cond_broadcast(&shipment->registration->changed);
	if (shipment->state == GOING)
		remove_shipment(shipment);
	return last;
}

static void on_answer(struct exec_request *request, const struct error *error)
{
	struct asked *asked = (struct asked *)request;
	struct shipment *shipment = asked->shipment;
	struct registration *registration = shipment->registration;
	struct exec_callable *forget;

	if (error && request->wish == EXEC_WITHDRAW)
		simpler_log(SIMPLER_LOG_WARN,
		            "%s did not withdraw '%s', and will with this program's session: %s",
		            asked->child->name, request->callable->name, error_step(error, 0));
	pthread_mutex_lock(&registration->lock);
	if (error)
		note_failure(shipment, (uint32_t)(asked - shipment->nodes), error);
	shipment->open--;
	forget = note_answered(shipment);
	pthread_mutex_unlock(&registration->lock);
	if (forget)
		callables_forget(registration->core->callables, forget);
}

/* Under the lock, which is given up meanwhile. Returns the entry if it is to be forgotten now. */
static struct exec_callable *withdraw(struct shipment *shipment, struct exec_callable *callable)
{
	struct registration *registration = shipment->registration;
	struct exec_callable *forget;

	shipment->state = GOING;
	shipment->last = callable;
	registration->asking++;
	ask_all(shipment, EXEC_WITHDRAW, callable);
	forget = note_answered(shipment);
	registration->asking--;
	(void)pthread_cond_broadcast(&registration->changed);
	return forget;
}

void registration_gone(void *context, struct exec_callable *callable)
{
	struct registration *registration = context;
	struct exec_callable *forget = callable;

	pthread_mutex_lock(&registration->lock);
	if (callable->shipment && --callable->shipment->needed == 0 && !registration->closed)
		forget = withdraw(callable->shipment, callable);
	pthread_mutex_unlock(&registration->lock);
	if (forget)
		callables_forget(registration->core->callables, forget);
}
