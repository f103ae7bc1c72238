/* Monotonic time in nanoseconds, and deadlines as points on it. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define CLOCK_NEVER INT64_MAX
#define CLOCK_MS    INT64_C(1000000)
#define CLOCK_S     INT64_C(1000000000)

int64_t clock_now(void);      /* CLOCK_MONOTONIC */
uint64_t clock_unix_ms(void); /* CLOCK_REALTIME, for what the wire shows people */
/* now + `milliseconds`, saturating to CLOCK_NEVER. */
int64_t clock_after_ms(uint64_t milliseconds);

#endif
