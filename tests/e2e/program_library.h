/* A shared library of the test program's: one that it is linked with, and, built a second time, one
 * that it loads when its children are there already. */
#ifndef PROGRAM_LIBRARY_H
#define PROGRAM_LIBRARY_H

#include <simpler/callable.h>

/* Doubles every cell. */
SIMPLER_API simpler_status library_double(const simpler_args *args, simpler_bytes state);

#endif
