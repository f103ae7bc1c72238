#include "cut.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "os/process.h"
#include "simpler/status.h"

static void nft(char *commands)
{
	char sbin[] = "/usr/sbin/nft";
	char *const arguments[] = { sbin, commands, NULL };
	int pidfd, wait_status;
	pid_t pid;

	if (process_start(sbin, arguments, NULL, 0, &pid, &pidfd) != SIMPLER_OK) {
		(void)fprintf(stderr, "cut: %s\n", simpler_last_error());
		exit(EXIT_FAILURE);
	}
	if (!process_wait(pidfd, CLOCK_NEVER, &wait_status) || wait_status != 0) {
		(void)fprintf(stderr, "cut: nft fails: %s\n", commands);
		exit(EXIT_FAILURE);
	}
	(void)close(pidfd);
}

void cut_link(const char *address)
{
	char commands[256];

	(void)snprintf(commands, sizeof(commands),
	               "add table ip cut; "
	               "add chain ip cut in { type filter hook input priority 0; }; "
	               "add rule ip cut in ip daddr %s drop; "
	               "add rule ip cut in ip saddr %s drop",
	               address, address);
	nft(commands);
}

void cut_mend(void)
{
	char commands[] = "delete table ip cut";

	nft(commands);
}
