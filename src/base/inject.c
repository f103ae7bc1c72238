#include "base/inject.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RULES_MAX 8u
#define POINT_MAX 63u

enum action { ACTION_CRASH, ACTION_EXIT, ACTION_STOP, ACTION_FAIL, ACTION_DELAY };

static const char *const action_names[] = {
	[ACTION_CRASH] = "crash", [ACTION_EXIT] = "exit",   [ACTION_STOP] = "stop",
	[ACTION_FAIL] = "fail",   [ACTION_DELAY] = "delay",
};

struct rule {
	char point[POINT_MAX + 1];
	uint32_t nth;
	enum action action;
	uint32_t delay_ms;
	_Atomic uint32_t passes;
};

/* Written once, before they are looked at. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct rule rules[RULES_MAX];
static size_t rule_count;
static const char *once_directory;

/* A test that asks for what cannot be tests nothing. */
static _Noreturn void refuse(const char *text)
{
	fprintf(stderr, "SIMPLER_FAULT: '%s' is not POINT:NTH:ACTION\n", text);
	abort();
}

static void parse_rule(const char *text)
{
	struct rule *rule = &rules[rule_count++];
	char action[8];
	int end = 0;

	if (sscanf(text, "%63[^:]:%u:%7[a-z]%n:%u", rule->point, &rule->nth, action, &end,
	           &rule->delay_ms) < 3)
		refuse(text);
	for (size_t i = 0; i < sizeof(action_names) / sizeof(action_names[0]); i++) {
		if (strcmp(action, action_names[i]) == 0) {
			rule->action = (enum action)i;
			return;
		}
	}
	refuse(text);
}

static void parse(void)
{
	static char copy[1024];
	const char *text = getenv("SIMPLER_FAULT");
	char *rest = NULL;

	once_directory = getenv("SIMPLER_FAULT_ONCE");
	if (!text || strlen(text) >= sizeof(copy))
		return;
	memcpy(copy, text, strlen(text) + 1);
	for (char *rule = strtok_r(copy, ",", &rest); rule && rule_count < RULES_MAX;
	     rule = strtok_r(NULL, ",", &rest))
		parse_rule(rule);
}

/* Whether no other process was first. */
static bool claim(const struct rule *rule)
{
	char path[512];
	int fd;

	if (!once_directory)
		return true;
	(void)snprintf(path, sizeof(path), "%s/%s", once_directory, rule->point);
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd >= 0)
		(void)close(fd);
	return fd >= 0;
}

static bool is_due(struct rule *rule)
{
	uint32_t pass = atomic_fetch_add(&rule->passes, 1) + 1;

	if (rule->nth > 0 && pass != rule->nth)
		return false;
	return claim(rule) || rule->nth == 0;
}

static bool act(const struct rule *rule)
{
	const struct timespec delay = { rule->delay_ms / 1000,
		                        (long)(rule->delay_ms % 1000) * 1000000 };

	switch (rule->action) {
	case ACTION_CRASH:
		(void)raise(SIGKILL);
		break;
	case ACTION_EXIT:
		_exit(EXIT_FAILURE);
	case ACTION_STOP:
		(void)raise(SIGSTOP);
		break;
	case ACTION_DELAY:
		(void)nanosleep(&delay, NULL);
		break;
	case ACTION_FAIL:
		break;
	}
	return rule->action == ACTION_FAIL;
}

bool inject_point(const char *point)
{
	bool fails = false;

	(void)pthread_once(&once, parse);
	for (size_t i = 0; i < rule_count; i++) {
		if (strcmp(rules[i].point, point) == 0 && is_due(&rules[i]))
			fails |= act(&rules[i]);
	}
	return fails;
}
