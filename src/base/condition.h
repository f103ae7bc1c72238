/* Condition variables on which one waits until a point of base/clock.h. */
#ifndef BASE_CONDITION_H
#define BASE_CONDITION_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

void condition_init(pthread_cond_t *condition);
/* As pthread_cond_wait(), which may return for no reason, until `deadline` at the latest. False
 * when that has passed; CLOCK_NEVER does not. */
bool condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline);

#endif
