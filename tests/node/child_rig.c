#include "child_rig.h"

#include "base/clock.h"

static const struct node_heartbeat heartbeat = { 200, 10000, 3 };

simpler_status child_rig_start(struct child_rig *rig, const char *const *options, simpler_lane lane)
{
	memset(rig, 0, sizeof(*rig));
	rig->front_end = front_end_start(options);
	assert_int_equal(node_session_create(60000, &heartbeat, &rig->session), SIMPLER_OK);
	assert_int_equal(
		remote_create(&(struct remote_options){ .client = rig->front_end->client,
	                                                .session = rig->session,
	                                                .address = rig->front_end->daemon.address,
	                                                .capacity = 64,
	                                                .lane = lane },
	                      &rig->child),
		SIMPLER_OK);
	rig->callable.kind = SIMPLER_KIND_ORCH;
	rig->callable.digest = rig->front_end->orch.digest;
	return remote_connect(rig->child, clock_after_ms(20000));
}

void child_rig_close(struct child_rig *rig)
{
	node_session_stop(rig->session);
	rig->child->ops->close(rig->child);
	node_session_release(rig->session);
	rig->child->ops->release(rig->child);
	rig->child = NULL;
}

void child_rig_stop(struct child_rig *rig)
{
	if (rig->child)
		child_rig_close(rig);
	front_end_stop(rig->front_end);
}

/* --- tasks --- */

static void job_done(struct exec_task *task, const struct error *error)
{
	struct job *job = (struct job *)task;

	pthread_mutex_lock(&job->lock);
	job->ends++;
	job->status = error ? error->status : SIMPLER_OK;
	if (error && error->status != SIMPLER_ECANCELLED && error->status != SIMPLER_EDEADLINE)
		print_message("%s\n", error_step(error, 0));
	pthread_cond_broadcast(&job->changed);
	pthread_mutex_unlock(&job->lock);
}

void job_init(struct job *job, struct child_rig *rig, uint64_t id, enum fake_command command)
{
	memset(job, 0, sizeof(*job));
	pthread_mutex_init(&job->lock, NULL);
	pthread_cond_init(&job->changed, NULL);
	job->scalars[0] = command;
	job->scalars[1] = id;
	job->task.callable = &rig->callable;
	job->task.id = id;
	job->task.config = &rig->config;
	job->task.scalars = job->scalars;
	job->task.scalar_count = 2;
	job->task.deadline = CLOCK_NEVER;
	job->task.done = job_done;
}

void job_start(struct job *job, struct child_rig *rig)
{
	rig->child->ops->start(rig->child, &job->task);
}

simpler_status job_wait(struct job *job)
{
	pthread_mutex_lock(&job->lock);
	while (job->ends == 0)
		pthread_cond_wait(&job->changed, &job->lock);
	assert_int_equal(job->ends, 1);
	pthread_mutex_unlock(&job->lock);
	return job->status;
}
