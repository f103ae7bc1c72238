/* Floors of libraries that this machine lacks. */
#include <stddef.h>

#include "bare_echo.h"

#ifndef BENCH_FABRIC
const struct bare_kind *const echo_fabric = NULL;
#endif
#ifndef BENCH_ZMQ
const struct bare_kind *const echo_zmq_request = NULL, *const echo_zmq_many = NULL;
#endif
