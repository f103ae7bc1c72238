#include "simpler/status.h"

#include "simpler/version.h"

static const struct {
	const char *name, *text;
} statuses[] = {
	[SIMPLER_OK] = { "SIMPLER_OK", "no error" },
	[SIMPLER_EINVAL] = { "SIMPLER_EINVAL", "an argument is not valid" },
	[SIMPLER_ENOTFOUND] = { "SIMPLER_ENOTFOUND", "there is no such thing" },
	[SIMPLER_EEXIST] = { "SIMPLER_EEXIST", "something else is there already" },
	[SIMPLER_ESTATE] = { "SIMPLER_ESTATE", "not possible in the present state" },
	[SIMPLER_ESTALE] = { "SIMPLER_ESTALE", "the handle names something that is gone" },
	[SIMPLER_EKIND] = { "SIMPLER_EKIND", "the callable is of another kind" },
	[SIMPLER_EVERSION] = { "SIMPLER_EVERSION", "the versions do not match" },
	[SIMPLER_ENOSPACE] = { "SIMPLER_ENOSPACE", "a limit or a capacity is reached" },
	[SIMPLER_ENOMEM] = { "SIMPLER_ENOMEM", "out of memory" },
	[SIMPLER_EUNAVAILABLE] = { "SIMPLER_EUNAVAILABLE", "the other side is lost or not ready" },
	[SIMPLER_EDEADLINE] = { "SIMPLER_EDEADLINE", "the deadline passed" },
	[SIMPLER_ECANCELLED] = { "SIMPLER_ECANCELLED", "cancelled" },
	[SIMPLER_EPERM] = { "SIMPLER_EPERM", "a policy forbids it" },
	[SIMPLER_EAUTH] = { "SIMPLER_EAUTH", "the peer did not prove who it is" },
	[SIMPLER_EUNSUPPORTED] = { "SIMPLER_EUNSUPPORTED", "not supported" },
	[SIMPLER_ESYSTEM] = { "SIMPLER_ESYSTEM", "an operating system call failed" },
	[SIMPLER_EPROTOCOL] = { "SIMPLER_EPROTOCOL", "the other process sent nonsense" },
	[SIMPLER_ECRASHED] = { "SIMPLER_ECRASHED", "the process that ran the task died" },
	[SIMPLER_EPOISONED] = { "SIMPLER_EPOISONED", "a task it depends on failed" },
	[SIMPLER_EUSER] = { "SIMPLER_EUSER", "user code failed" },
	[SIMPLER_EINTERNAL] = { "SIMPLER_EINTERNAL", "a bug in simpler; please report it" },
};

#define STATUS_COUNT ((int)(sizeof(statuses) / sizeof(statuses[0])))

const char *simpler_status_name(simpler_status status)
{
	int value = (int)status;

	if (value >= SIMPLER_USER_STATUS)
		return "a status of user code";
	return value >= 0 && value < STATUS_COUNT ? statuses[value].name : "unknown status";
}

const char *simpler_status_text(simpler_status status)
{
	int value = (int)status;

	if (value >= SIMPLER_USER_STATUS)
		return "user code failed with a status of its own";
	return value >= 0 && value < STATUS_COUNT ? statuses[value].text : "unknown status";
}

const char *simpler_version(void)
{
	return SIMPLER_VERSION;
}
