#include "node/engine_watch.h"

#include <stdio.h>

#include "base/clock.h"
#include "node/engine_link.h"

/* That a look adds to the silence. */
#define MOST_AT_ONCE (2 * CLOCK_MS * ENGINE_BEAT_MS)

void engine_watch_init(struct engine_watch *watch)
{
	*watch = (struct engine_watch){ .report = { .since = clock_now() } };
	(void)pthread_mutex_init(&watch->lock, NULL);
}

void engine_watch_destroy(struct engine_watch *watch)
{
	(void)pthread_mutex_destroy(&watch->lock);
}

void engine_watch_born(struct engine_watch *watch, pid_t pid)
{
	pthread_mutex_lock(&watch->lock);
	watch->report.pid = pid;
	pthread_mutex_unlock(&watch->lock);
}

void engine_watch_moved(struct engine_watch *watch)
{
	pthread_mutex_lock(&watch->lock);
	watch->report.since = clock_now();
	pthread_mutex_unlock(&watch->lock);
}

void engine_watch_up(struct engine_watch *watch, const struct bulletin *bulletin, int64_t now)
{
	pthread_mutex_lock(&watch->lock);
	watch->turn = bulletin_turn(bulletin) + 1; /* what is there is yet to be read */
	watch->report.heard = watch->looked = now;
	watch->silence = 0;
	pthread_mutex_unlock(&watch->lock);
}

/* `*said`: it has published since the last look. */
static simpler_status read_vitals(struct engine_watch *watch, const struct bulletin *bulletin,
                                  struct vitals *out, bool *said)
{
	uint32_t turn = bulletin_turn(bulletin);
	uint8_t bytes[BULLETIN_BYTES];
	size_t size;

	*said = turn != watch->turn && bulletin_read(bulletin, bytes, &size);
	if (!*said)
		return SIMPLER_OK;
	watch->turn = turn;
	return vitals_decode(bytes, size, out);
}

simpler_status engine_watch_look(struct engine_watch *watch, const struct bulletin *bulletin,
                                 int64_t now, int64_t *again)
{
	simpler_status status;
	struct vitals vitals;
	bool said;

	*again = watch->looked + ENGINE_BEAT_MS * CLOCK_MS;
	if (now < *again)
		return SIMPLER_OK;
	*again = now + ENGINE_BEAT_MS * CLOCK_MS;
	status = read_vitals(watch, bulletin, &vitals, &said);
	if (status != SIMPLER_OK)
		return status;
	pthread_mutex_lock(&watch->lock);
	watch->silence += now - watch->looked < MOST_AT_ONCE ? now - watch->looked : MOST_AT_ONCE;
	watch->looked = now;
	if (said) {
		watch->silence = 0;
		watch->report.heard = now;
		watch->report.vitals = vitals;
		watch->report.has_vitals = true;
	}
	pthread_mutex_unlock(&watch->lock);
	return SIMPLER_OK;
}

void engine_watch_ended(struct engine_watch *watch, const char *how)
{
	pthread_mutex_lock(&watch->lock);
	(void)snprintf(watch->report.last_end, sizeof(watch->report.last_end), "%s", how);
	watch->report.pid = 0;
	watch->report.has_vitals = false;
	pthread_mutex_unlock(&watch->lock);
}

void engine_watch_retry(struct engine_watch *watch, int64_t retry, uint32_t young_deaths)
{
	pthread_mutex_lock(&watch->lock);
	watch->report.retry = retry;
	watch->report.young_deaths = young_deaths;
	pthread_mutex_unlock(&watch->lock);
}

void engine_watch_restarted(struct engine_watch *watch)
{
	pthread_mutex_lock(&watch->lock);
	watch->report.restarts++;
	pthread_mutex_unlock(&watch->lock);
}

void engine_watch_report(struct engine_watch *watch, enum engine_state state, uint32_t in_flight,
                         struct engine_report *out)
{
	pthread_mutex_lock(&watch->lock);
	*out = watch->report;
	out->state = state;
	out->in_flight = in_flight;
	out->answering = (state == ENGINE_INSTALLING || state == ENGINE_READY) &&
	                 watch->silence < ENGINE_SILENT_MS * CLOCK_MS;
	pthread_mutex_unlock(&watch->lock);
}
