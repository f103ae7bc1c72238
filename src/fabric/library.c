/*
 * libfabric is not linked but loaded, by who opens a fabric. Debian's brings a dozen libraries of
 * vendors along, which have no business in processes that use no fabric. One of them,
 * libinfinipath, takes SIGSEGV, SIGABRT, SIGTERM and others for itself as soon as it is loaded, to
 * write a backtrace into a file where the process happens to be: so handlers are put back
 * afterwards. Meanwhile this thread takes no signals: its handler for SIGTERM calls exit(), which
 * would wait for what libfabric holds.
 */
#include "fabric/library.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "fabric/settings.h"
#include "os/dl.h"

#define LIBRARY     "libfabric.so.1"
#define MOST_SIGNAL 31 /* those without a name of POSIX's are nobody's to take */

struct libfabric libfabric;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards: */
static bool loaded;

simpler_status library_keep_handlers(simpler_status (*work)(void *context), void *context)
{
	struct sigaction before[MOST_SIGNAL + 1];
	bool known[MOST_SIGNAL + 1];
	sigset_t all, mask;
	simpler_status status;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &mask);
	for (int i = 1; i <= MOST_SIGNAL; i++)
		known[i] = sigaction(i, NULL, &before[i]) == 0;
	status = work(context);
	for (int i = 1; i <= MOST_SIGNAL; i++) {
		struct sigaction now;

		if (known[i] && sigaction(i, NULL, &now) == 0 &&
		    now.sa_handler != before[i].sa_handler)
			(void)sigaction(i, &before[i], NULL);
	}
	(void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
	return status;
}

/* A pointer to a function out of one to data, as POSIX wants it of dlsym(). */
static bool find(void *library, const char *name, void *function)
{
	void *address = dl_symbol(library, name);

	memcpy(function, &address, sizeof(address));
	return address != NULL;
}

static void begin(void)
{
	struct fi_info *info = NULL;

	if (libfabric.getinfo(FI_VERSION(1, 11), NULL, NULL, FI_PROV_ATTR_ONLY, NULL, &info) == 0)
		libfabric.freeinfo(info);
}

static simpler_status load(void *context)
{
	void *library;

	(void)context;
	if (dl_open_path(LIBRARY, &library) != SIMPLER_OK)
		return error_raise(SIMPLER_EUNAVAILABLE,
		                   "there is no " LIBRARY " here, which the fabric needs; Debian's "
		                   "package is libfabric1");
	if (!find(library, "fi_getinfo", &libfabric.getinfo) ||
	    !find(library, "fi_freeinfo", &libfabric.freeinfo) ||
	    !find(library, "fi_dupinfo", &libfabric.dupinfo) ||
	    !find(library, "fi_fabric", &libfabric.fabric) ||
	    !find(library, "fi_strerror", &libfabric.strerror))
		return error_raise(SIMPLER_EUNAVAILABLE, LIBRARY " lacks a function");
	return settings_apply(begin);
}

simpler_status library_load(void)
{
	simpler_status status = SIMPLER_OK;

	pthread_mutex_lock(&lock);
	if (!loaded)
		status = library_keep_handlers(load, NULL);
	loaded = status == SIMPLER_OK;
	pthread_mutex_unlock(&lock);
	return status;
}
