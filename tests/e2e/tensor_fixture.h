/* Two nodes with pools of 64 MiB and a worker that has them as its children 0 and 1, for what tests
 * the tensors on them; and short words for what such tests do again and again, which end the test
 * when that fails. */
#ifndef TENSOR_FIXTURE_H
#define TENSOR_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon.h"
#include "simpler/simpler.h"

struct fixture {
	struct daemon nodes[2];
	simpler_worker *worker;
	simpler_module *module;
	simpler_orch_fn shift, sum_bytes, fail;
};

void connect_worker(struct fixture *fixture, unsigned nodes);
int tensors_set_up(void **state);
int tensors_tear_down(void **state);
void assert_ok(simpler_status status);
void assert_fails(simpler_status status, simpler_status expected, const char *text);
simpler_tensor over(void *data, simpler_dtype dtype, int64_t count);
simpler_tensor_handle alloc(struct fixture *fixture, unsigned node, simpler_dtype dtype,
                            int64_t count);
void free_tensor(struct fixture *fixture, simpler_tensor_handle handle);
void write_all(struct fixture *fixture, simpler_tensor_handle handle, simpler_tensor local);
void read_all(struct fixture *fixture, simpler_tensor_handle handle, simpler_tensor local);
void add_view(simpler_args *args, simpler_tensor_handle handle, uint64_t offset,
              simpler_dtype dtype, int64_t count, simpler_tag tag);
simpler_status run_on(struct fixture *fixture, simpler_orch_fn fn, const simpler_args *args,
                      simpler_worker_id worker);
simpler_status run(struct fixture *fixture, simpler_orch_fn fn, const simpler_args *args);
simpler_traffic traffic_of(struct fixture *fixture, unsigned node);
uint64_t sent(const simpler_traffic *traffic);
uint64_t received(const simpler_traffic *traffic);

#endif
