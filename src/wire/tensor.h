/* Checking a tensor's description, for whoever is handed one. */
#ifndef WIRE_TENSOR_H
#define WIRE_TENSOR_H

#include <stdint.h>

#include "base/error.h"
#include "simpler/tensor.h"

/* SIMPLER_EINVAL saying what is wrong with it: see simpler_tensor_init(). `*nbytes` is the size of
 * its elements. */
simpler_status tensor_check(const simpler_tensor *tensor, uint64_t *nbytes);

#endif
