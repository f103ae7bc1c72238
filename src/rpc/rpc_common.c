/* Codes, buffers, texts and deadlines: what both ends of a call need. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "rpc/core.h"
#include "rpc/utf8.h"
#include "simpler/log.h"

/* --- codes --- */

static const char *const code_names[] = {
	"OK",
	"CANCELLED",
	"UNKNOWN",
	"INVALID_ARGUMENT",
	"DEADLINE_EXCEEDED",
	"NOT_FOUND",
	"ALREADY_EXISTS",
	"PERMISSION_DENIED",
	"RESOURCE_EXHAUSTED",
	"FAILED_PRECONDITION",
	"ABORTED",
	"OUT_OF_RANGE",
	"UNIMPLEMENTED",
	"INTERNAL",
	"UNAVAILABLE",
	"DATA_LOSS",
	"UNAUTHENTICATED",
};
#define CODE_COUNT ((int)(sizeof(code_names) / sizeof(code_names[0])))

const char *rpc_code_name(enum rpc_code code)
{
	int number = (int)code;

	return number >= 0 && number < CODE_COUNT ? code_names[number]
	                                          : "a code gRPC does not have";
}

enum rpc_code rpc_code_of(simpler_status status)
{
	static const enum rpc_code codes[] = {
		[SIMPLER_OK] = RPC_OK,
		[SIMPLER_EINVAL] = RPC_INVALID_ARGUMENT,
		[SIMPLER_ENOTFOUND] = RPC_NOT_FOUND,
		[SIMPLER_EEXIST] = RPC_ALREADY_EXISTS,
		[SIMPLER_ESTATE] = RPC_FAILED_PRECONDITION,
		[SIMPLER_ESTALE] = RPC_FAILED_PRECONDITION,
		[SIMPLER_EKIND] = RPC_FAILED_PRECONDITION,
		[SIMPLER_EVERSION] = RPC_FAILED_PRECONDITION,
		[SIMPLER_ENOSPACE] = RPC_RESOURCE_EXHAUSTED,
		[SIMPLER_ENOMEM] = RPC_RESOURCE_EXHAUSTED,
		[SIMPLER_EUNAVAILABLE] = RPC_UNAVAILABLE,
		[SIMPLER_EDEADLINE] = RPC_DEADLINE_EXCEEDED,
		[SIMPLER_ECANCELLED] = RPC_CANCELLED,
		[SIMPLER_EPERM] = RPC_PERMISSION_DENIED,
		[SIMPLER_EAUTH] = RPC_UNAUTHENTICATED,
		[SIMPLER_EUNSUPPORTED] = RPC_UNIMPLEMENTED,
		[SIMPLER_ESYSTEM] = RPC_INTERNAL,
		[SIMPLER_EPROTOCOL] = RPC_DATA_LOSS,
		[SIMPLER_ECRASHED] = RPC_UNAVAILABLE,
		[SIMPLER_EPOISONED] = RPC_ABORTED,
		[SIMPLER_EUSER] = RPC_UNKNOWN,
		[SIMPLER_EINTERNAL] = RPC_INTERNAL,
	};
	int number = (int)status;

	return number >= 0 && number < (int)(sizeof(codes) / sizeof(codes[0])) ? codes[number]
	                                                                       : RPC_UNKNOWN;
}

simpler_status rpc_status_of(enum rpc_code code)
{
	static const simpler_status statuses[] = {
		[RPC_OK] = SIMPLER_OK,
		[RPC_CANCELLED] = SIMPLER_ECANCELLED,
		[RPC_UNKNOWN] = SIMPLER_EUSER,
		[RPC_INVALID_ARGUMENT] = SIMPLER_EINVAL,
		[RPC_DEADLINE_EXCEEDED] = SIMPLER_EDEADLINE,
		[RPC_NOT_FOUND] = SIMPLER_ENOTFOUND,
		[RPC_ALREADY_EXISTS] = SIMPLER_EEXIST,
		[RPC_PERMISSION_DENIED] = SIMPLER_EPERM,
		[RPC_RESOURCE_EXHAUSTED] = SIMPLER_ENOSPACE,
		/* Of the four that share this code, the one that a program branches on. */
		[RPC_FAILED_PRECONDITION] = SIMPLER_ESTALE,
		[RPC_ABORTED] = SIMPLER_EPOISONED,
		[RPC_OUT_OF_RANGE] = SIMPLER_EINVAL,
		[RPC_UNIMPLEMENTED] = SIMPLER_EUNSUPPORTED,
		/* Of the two, the one that a fault of the other machine gives. */
		[RPC_INTERNAL] = SIMPLER_ESYSTEM,
		[RPC_UNAVAILABLE] = SIMPLER_EUNAVAILABLE,
		[RPC_DATA_LOSS] = SIMPLER_EPROTOCOL,
		[RPC_UNAUTHENTICATED] = SIMPLER_EAUTH,
	};
	int number = (int)code;

	return number >= 0 && number < CODE_COUNT ? statuses[number] : SIMPLER_EPROTOCOL;
}

/* --- bytes going out --- */

static_assert(sizeof(grpc_slice) == sizeof(((struct rpc_buffer *)NULL)->slice),
              "rpc_buffer has room for a slice");

simpler_status rpc_buffer_alloc(struct rpc_buffer *buffer, size_t size)
{
	/* gRPC's own allocation aborts when memory is out. */
	uint8_t *data = malloc(size > 0 ? size : 1);
	grpc_slice slice;

	if (!data)
		return error_raise(SIMPLER_ENOMEM, "no memory for a message of %zu bytes", size);
	slice = grpc_slice_new(data, size, free);
	memcpy(buffer->slice, &slice, sizeof(slice));
	buffer->data = data;
	buffer->size = size;
	buffer->has_tail = false;
	return SIMPLER_OK;
}

static grpc_slice to_slice(const uint64_t bytes[4])
{
	grpc_slice slice;

	memcpy(&slice, bytes, sizeof(slice));
	return slice;
}

void rpc_buffer_attach(struct rpc_buffer *buffer, const void *data, size_t size,
                       void (*let_go)(void *context), void *context)
{
	/* gRPC only reads what it sends. */
	grpc_slice tail =
		grpc_slice_new_with_user_data((void *)(uintptr_t)data, size, let_go, context);

	assert(!buffer->has_tail);
	memcpy(buffer->tail, &tail, sizeof(tail));
	buffer->has_tail = true;
}

void rpc_buffer_release(struct rpc_buffer *buffer)
{
	grpc_slice_unref(to_slice(buffer->slice));
	if (buffer->has_tail)
		grpc_slice_unref(to_slice(buffer->tail));
}

grpc_byte_buffer *core_take(struct rpc_buffer *message)
{
	grpc_slice slices[2] = { to_slice(message->slice) };
	grpc_byte_buffer *taken;

	if (message->has_tail)
		slices[1] = to_slice(message->tail);
	taken = grpc_raw_byte_buffer_create(slices, message->has_tail ? 2 : 1);
	rpc_buffer_release(message);
	return taken;
}

/* --- bytes coming in --- */

bool core_readable(const grpc_byte_buffer *buffer)
{
	return buffer && buffer->data.raw.compression == GRPC_COMPRESS_NONE;
}

void core_view_open(struct core_view *view, grpc_byte_buffer *buffer)
{
	grpc_slice_buffer *slices = &buffer->data.raw.slice_buffer;
	grpc_byte_buffer_reader reader;

	*view = (struct core_view){ .data = (const uint8_t *)"" };
	if (slices->count == 1) {
		view->data = GRPC_SLICE_START_PTR(slices->slices[0]);
		view->size = GRPC_SLICE_LENGTH(slices->slices[0]);
	} else if (slices->count > 1 && grpc_byte_buffer_reader_init(&reader, buffer)) {
		view->joined = grpc_byte_buffer_reader_readall(&reader);
		grpc_byte_buffer_reader_destroy(&reader);
		view->has_joined = true;
		view->data = GRPC_SLICE_START_PTR(view->joined);
		view->size = GRPC_SLICE_LENGTH(view->joined);
	}
}

static size_t list_parts(const grpc_byte_buffer *buffer, struct rpc_part *parts, size_t room)
{
	const grpc_slice_buffer *slices = &buffer->data.raw.slice_buffer;

	for (size_t i = 0; i < slices->count && i < room; i++)
		parts[i] = (struct rpc_part){ GRPC_SLICE_START_PTR(slices->slices[i]),
			                      GRPC_SLICE_LENGTH(slices->slices[i]) };
	return slices->count;
}

void core_deliver(const grpc_byte_buffer *buffer, core_receiver *receiver, void *context)
{
	struct rpc_part few[CORE_PARTS], *parts = few;
	size_t count = list_parts(buffer, few, CORE_PARTS);

	if (count > CORE_PARTS) {
		parts = gpr_malloc(count * sizeof(*parts));
		(void)list_parts(buffer, parts, count);
	}
	receiver(context, parts, count);
	if (parts != few)
		gpr_free(parts);
}

void core_view_close(struct core_view *view)
{
	if (view->has_joined)
		grpc_slice_unref(view->joined);
}

/* --- texts --- */

/* Bytes that gRPC makes of one sequence of `size` bytes. */
static size_t encoded(const uint8_t *sequence, size_t size)
{
	bool plain = size == 1 && sequence[0] >= ' ' && sequence[0] < 0x7f && sequence[0] != '%';

	return plain ? 1 : 3 * size;
}

grpc_slice core_text(const char *text)
{
	char copy[CORE_TEXT_MAX + 1];
	size_t length = strlen(text), kept = 0, cost = 0;

	if (length > CORE_TEXT_MAX)
		length = CORE_TEXT_MAX;
	memcpy(copy, text, length);
	copy[length] = '\0';
	utf8_clean(copy);
	while (kept < length) {
		size_t size = utf8_sequence((const uint8_t *)copy + kept, length - kept);

		cost += encoded((const uint8_t *)copy + kept, size);
		if (cost > CORE_TEXT_MAX)
			break;
		kept += size;
	}
	return grpc_slice_from_copied_buffer(copy, kept);
}

/* --- time --- */

gpr_timespec core_from_deadline(int64_t deadline)
{
	gpr_timespec time = gpr_inf_future(GPR_CLOCK_MONOTONIC);

	if (deadline == CLOCK_NEVER)
		return time;
	if (deadline < 0)
		deadline = 0;
	time.tv_sec = deadline / CLOCK_S;
	time.tv_nsec = (int32_t)(deadline % CLOCK_S);
	return time;
}

void core_log(gpr_log_func_args *line)
{
	simpler_log(SIMPLER_LOG_DEBUG, "gRPC: %s", line->message);
}

void core_queue_destroy(grpc_completion_queue *queue)
{
	grpc_event event;

	grpc_completion_queue_shutdown(queue);
	do
		event = grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC),
		                                   NULL);
	while (event.type != GRPC_QUEUE_SHUTDOWN);
	grpc_completion_queue_destroy(queue);
}
