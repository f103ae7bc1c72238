/*
 * The records that cross between processes of one machine: a task going down, and word to stop it,
 * an outcome coming back, a callable being installed. Each has one encoder and one decoder; both
 * are pure functions over a byte range, and a decoder trusts nothing: every count and length is
 * checked against its limit and against what is left before it is used.
 *
 * A record is native-endian, since it never leaves the machine, and holds no address: a tensor is
 * where it is as {segment, offset}.
 *
 * The decoders return SIMPLER_EPROTOCOL with a message for anything malformed and leave `out`
 * unspecified then. The encoders return the bytes written, or 0 when `capacity` is too small,
 * which for RECORD_*_MAX never happens.
 */
#ifndef WIRE_RECORD_H
#define WIRE_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "simpler/callable.h"

#define RECORD_PREFIX_MAX   255 /* bytes of CallConfig.output_prefix */
#define RECORD_NAME_MAX     63  /* bytes of a callable's name */
#define RECORD_DIGEST_BYTES 32
#define RECORD_OBJECT_MAX   255 /* bytes of the name of a program's shared library */

/* What a record is that may be one of several. */
enum record_kind {
	RECORD_NONE,
	RECORD_TASK,
	RECORD_STOP,
	RECORD_FORGET,
	RECORD_INSTALL,
	RECORD_SEGMENT
};

/* A tensor argument: element 0,0,... is at `offset` of memory segment `segment`, and the elements
 * have `nbytes`, one behind the other in row-major order unless `strided`. A decoded one has a
 * known tag, a type and a shape that make `nbytes`, and all its bytes, those before `offset` too,
 * are at offsets that fit 64 bits. Whether they lie in the segment is for those to check who map
 * it. */
struct record_tensor {
	uint32_t segment;
	uint8_t dtype, tag, ndim;
	uint64_t offset, nbytes;
	int64_t shape[SIMPLER_MAX_DIMS];
	bool strided;
	int64_t strides[SIMPLER_MAX_DIMS]; /* in elements; only if `strided` */
};

struct record_config {
	int32_t block_dim, aicpu_thread_num, enable_pmu;
	bool enable_l2_swimlane, enable_dump_tensor;
	char output_prefix[RECORD_PREFIX_MAX + 1];
};

struct record_task {
	uint64_t token;    /* the sender's; returned in the outcome */
	uint64_t callable; /* key under which the receiver was told of it */
	struct record_config config;
	uint32_t tensor_count, scalar_count;
	struct record_tensor tensors[SIMPLER_MAX_TENSORS];
	uint64_t scalars[SIMPLER_MAX_SCALARS];
};

/* The task with this token is to end early. A receiver that does not have it does nothing. */
struct record_stop {
	uint64_t token;
};

/* No task will name this callable any more. A receiver that does not have it does nothing. */
struct record_forget {
	uint64_t callable; /* its key */
};

struct record_outcome {
	uint64_t token;
	/* Status SIMPLER_OK and no steps on success. Else any value but that: it may be a user's
	 * own. The steps of a decoded one are clean of control characters. */
	struct error error;
};

/* Where a callable's code comes from. */
enum record_source { RECORD_FROM_MODULE, RECORD_FROM_PROGRAM };

/* A function of the sender's program, for a process that runs the same program; see
 * ipc/program_function.h. */
struct record_function {
	char object[RECORD_OBJECT_MAX +
	            1]; /* the library that holds it; "" for the program itself */
	uint8_t identity[RECORD_DIGEST_BYTES]; /* of the object's build */
	uint64_t offset;                       /* in the object */
};

/* A callable made known to an engine or a worker process. The module's descriptor travels beside
 * it (SCM_RIGHTS) when `has_module`; else the receiver knows the module already. */
struct record_install {
	uint64_t callable;
	uint8_t kind; /* simpler_kind */
	enum record_source source;
	/* Of a module: */
	bool has_module;
	uint8_t module_digest[RECORD_DIGEST_BYTES];
	/* Of the program: */
	struct record_function function;
	char name[RECORD_NAME_MAX + 1];
	uint32_t state_size;
	const uint8_t *state; /* points into the decoded bytes */
};

/* Memory that came after the receiver was forked, its descriptor beside the record; or, with no
 * bytes and no descriptor, word that nothing of it is used any more. Numbers begin at
 * RECORD_FIRST_SEGMENT, and none is used twice. */
struct record_segment {
	uint32_t id;
	uint64_t bytes;
};
/* Those below are the ones that a process is forked with. */
#define RECORD_FIRST_SEGMENT 1024u

#define RECORD_TASK_MAX                                                                            \
	(128 + RECORD_PREFIX_MAX + SIMPLER_MAX_TENSORS * 160 + SIMPLER_MAX_SCALARS * 8)
#define RECORD_SEGMENT_MAX 16
#define RECORD_STOP_MAX    16
#define RECORD_FORGET_MAX  16
#define RECORD_OUTCOME_MAX (64 + ERROR_TEXT_BYTES)
#define RECORD_INSTALL_MAX (512 + SIMPLER_STATE_MAX)

/* RECORD_NONE for what is none of them. An outcome has no kind. */
enum record_kind record_kind_of(const void *bytes, size_t size);

size_t record_task_encode(const struct record_task *task, void *bytes, size_t capacity);
simpler_status record_task_decode(const void *bytes, size_t size, struct record_task *out);

size_t record_stop_encode(const struct record_stop *stop, void *bytes, size_t capacity);
simpler_status record_stop_decode(const void *bytes, size_t size, struct record_stop *out);

size_t record_forget_encode(const struct record_forget *forget, void *bytes, size_t capacity);
simpler_status record_forget_decode(const void *bytes, size_t size, struct record_forget *out);

/* What `status` says of the task: success, or this thread's last error. */
void record_outcome_fill(struct record_outcome *outcome, uint64_t token, simpler_status status);
size_t record_outcome_encode(const struct record_outcome *outcome, void *bytes, size_t capacity);
simpler_status record_outcome_decode(const void *bytes, size_t size, struct record_outcome *out);

size_t record_install_encode(const struct record_install *install, void *bytes, size_t capacity);
simpler_status record_install_decode(const void *bytes, size_t size, struct record_install *out);

size_t record_segment_encode(const struct record_segment *segment, void *bytes, size_t capacity);
simpler_status record_segment_decode(const void *bytes, size_t size, struct record_segment *out);

#endif
