/*
 * A peer of simpler-bench: two ranks of Open MPI, of which one echoes. Prints the median of round
 * trips in microseconds, and records a second with 64 and with 1,000 under way.
 *
 * Usage: mpirun -np 2 peer_mpi BYTES COUNT
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST 1000

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void echo(char *record, int size, int count)
{
	for (int i = 0; i < count; i++) {
		MPI_Recv(record, size, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		MPI_Send(record, size, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
	}
}

static double one_by_one(char *record, int size, int count)
{
	double *times = calloc((size_t)count, sizeof(*times)), median;

	if (!times) {
		MPI_Abort(MPI_COMM_WORLD, 1);
		return 0;
	}
	for (int i = 0; i < count; i++) {
		double began = MPI_Wtime();

		MPI_Send(record, size, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
		MPI_Recv(record, size, MPI_BYTE, 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		times[i] = MPI_Wtime() - began;
	}
	qsort(times, (size_t)count, sizeof(*times), compare);
	median = times[count / 2];
	free(times);
	return median * 1e6;
}

/* A second; a record under way has a request for its sending and one for its coming back. */
static double many(char *records, int size, int count, int under_way)
{
	static MPI_Request sends[MOST], receives[MOST];
	double began = MPI_Wtime();

	for (int i = 0; i < count + under_way; i++) {
		int slot = i % under_way;
		char *record = records + (size_t)slot * (size_t)size;

		if (i >= under_way) {
			MPI_Wait(&receives[slot], MPI_STATUS_IGNORE);
			MPI_Wait(&sends[slot], MPI_STATUS_IGNORE);
		}
		if (i >= count)
			continue;
		MPI_Irecv(record, size, MPI_BYTE, 1, 0, MPI_COMM_WORLD, &receives[slot]);
		MPI_Isend(record, size, MPI_BYTE, 1, 0, MPI_COMM_WORLD, &sends[slot]);
	}
	return count / (MPI_Wtime() - began);
}

int main(int argc, char **argv)
{
	int size = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 100;
	int count = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 10000, rank;
	char *records = calloc(MOST, (size_t)size);

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	if (!records || size < 1 || count < MOST)
		MPI_Abort(MPI_COMM_WORLD, 2);
	if (rank == 0) {
		double latency = one_by_one(records, size, count);
		double few = many(records, size, count, 64);

		printf("%.3f %.0f %.0f\n", latency, few, many(records, size, count, MOST));
	} else {
		echo(records, size, 3 * count);
	}
	MPI_Finalize();
	free(records);
	return 0;
}
