/* Numbers that nobody can guess. */
#ifndef OS_RANDOM_H
#define OS_RANDOM_H

#include <stdint.h>

/* From the kernel's generator; never 0. Blocks only in the first moments after the machine's start.
 */
uint64_t random_u64(void);

#endif
