#include "catalog/module_saver.h"

#include <pthread.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/error.h"
#include "base/log.h"

struct job {
	struct digest digest;
	simpler_bytes bytes;
	void *module;
	struct job *prev, *next;
};

struct module_saver {
	struct module_disk *disk;
	module_saved *done;
	void *context;
	pthread_t thread;
	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t changed;
	struct job *jobs; /* in their order */
	bool stopping;
};

/* The next job; NULL when there is none left and there will be none. */
static struct job *take(struct module_saver *saver)
{
	struct job *job;

	pthread_mutex_lock(&saver->lock);
	while (!saver->jobs && !saver->stopping)
		(void)pthread_cond_wait(&saver->changed, &saver->lock);
	job = saver->jobs;
	if (job)
		DL_DELETE(saver->jobs, job);
	pthread_mutex_unlock(&saver->lock);
	return job;
}

static void *saver_main(void *argument)
{
	struct module_saver *saver = argument;
	struct job *job;

	while ((job = take(saver)) != NULL) {
		if (module_disk_save(saver->disk, &job->digest, job->bytes))
			simpler_log(SIMPLER_LOG_WARN, "a module is not kept across restarts: %s",
			            simpler_last_error());
		saver->done(saver->context, job->module);
		free(job);
	}
	return NULL;
}

simpler_status module_saver_start(struct module_disk *disk, module_saved *done, void *context,
                                  struct module_saver **out)
{
	struct module_saver *saver = calloc(1, sizeof(*saver));
	int failure;

	if (!saver)
		return error_raise(SIMPLER_ENOMEM, "no memory for a module store");
	saver->disk = disk;
	saver->done = done;
	saver->context = context;
	(void)pthread_mutex_init(&saver->lock, NULL);
	(void)pthread_cond_init(&saver->changed, NULL);
	failure = pthread_create(&saver->thread, NULL, saver_main, saver);
	if (!failure) {
		*out = saver;
		return SIMPLER_OK;
	}
	(void)pthread_cond_destroy(&saver->changed);
	(void)pthread_mutex_destroy(&saver->lock);
	free(saver);
	return error_raise_errno(SIMPLER_ESYSTEM, failure,
	                         "cannot start the thread that saves modules");
}

bool module_saver_add(struct module_saver *saver, const struct digest *digest, simpler_bytes bytes,
                      void *module)
{
	struct job *job = malloc(sizeof(*job));

	if (!job)
		return false;
	*job = (struct job){ .digest = *digest, .bytes = bytes, .module = module };
	pthread_mutex_lock(&saver->lock);
	DL_APPEND(saver->jobs, job);
	(void)pthread_cond_signal(&saver->changed);
	pthread_mutex_unlock(&saver->lock);
	return true;
}

void module_saver_stop(struct module_saver *saver)
{
	if (!saver)
		return;
	pthread_mutex_lock(&saver->lock);
	saver->stopping = true;
	(void)pthread_cond_signal(&saver->changed);
	pthread_mutex_unlock(&saver->lock);
	(void)pthread_join(saver->thread, NULL);
	(void)pthread_cond_destroy(&saver->changed);
	(void)pthread_mutex_destroy(&saver->lock);
	free(saver);
}
