/* Everything a program needs that drives workers. Modules include simpler/module.h instead. */
#ifndef SIMPLER_SIMPLER_H
#define SIMPLER_SIMPLER_H

#include "simpler/args.h"
#include "simpler/callable.h"
#include "simpler/handle.h"
#include "simpler/lane.h"
#include "simpler/log.h"
#include "simpler/orch.h"
#include "simpler/program.h"
#include "simpler/remote_tensor.h"
#include "simpler/status.h"
#include "simpler/tensor.h"
#include "simpler/version.h"
#include "simpler/worker.h"

#endif
