/* A program of somebody else, built against the installed library in every way there is. */
#include <simpler/simpler.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
	if (strcmp(simpler_version(), SIMPLER_VERSION) != 0) {
		fprintf(stderr, "headers of %s, library of %s\n", SIMPLER_VERSION,
		        simpler_version());
		return 1;
	}
	printf("consumer: %s, %s\n", simpler_version(), simpler_status_name(SIMPLER_OK));
	return 0;
}
