/*
 * From node to node: a grant that one node gives, and the storage that another makes of it. The
 * bytes go between the two; this process tells them of each other.
 *
 *   EXPORT at the node that has the tensor     a grant
 *   IMPORT at the node that is to have it      a handle there
 *   RELEASE the grant, whatever became of it
 *
 * remote_begin_bring() does all three; the others one each.
 */
#include <string.h>

#include "base/clock.h"
#include "exec/remote_storage.h"
#include "rpc/rpc.h"

/* For what is done behind a failure, whose time may be over. */
#define RELEASE_MS 5000u

static simpler_status take_grant(struct remote_op *op, const uint8_t *data, size_t size)
{
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_grant_decode(data, size, &bump, &op->import.grant);
	/* They point into the message. */
	op->import.grant.handle.transport_desc.size = 0;
	op->import.grant.handle.also[0] = '\0';
	bump_release(&bump);
	return status;
}

static void address_of(const struct remote_child *node, struct msg_import *import)
{
	memcpy(import->address, node->address, strlen(node->address) + 1);
}

/* --- exporting --- */

static void on_exported(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                        size_t size)
{
	struct remote_op *op = context;
	simpler_status status = remote_op_answer(op, code, text);

	if (status == SIMPLER_OK)
		status = take_grant(op, data, size);
	if (status == SIMPLER_OK)
		op->done(op, NULL);
	else
		remote_op_fail(op);
}

static void export(struct remote_op *op, struct remote_storage *storage, bool writable,
                   uint64_t ttl_ms, rpc_done *done)
{
	struct msg_export message = { .write = writable, .ttl_ms = ttl_ms };
	struct rpc_buffer buffer;
	simpler_status status = remote_storage_check(storage);

	if (status == SIMPLER_OK) {
		message.handle = storage->place.handle;
		message.handle.transport_desc.size = 0;
		message.handle.also[0] = '\0';
		status = msg_export_encode(&message, &buffer);
	}
	if (status == SIMPLER_OK)
		remote_op_call(op, MSG_EXPORT_TENSOR, &buffer, done);
	else
		remote_op_fail(op);
}

void remote_begin_export(struct remote_op *op, bool writable, uint64_t ttl_ms)
{
	address_of(op->node, &op->import);
	export(op, op->storage, writable, ttl_ms, on_exported);
}

/* --- importing --- */

static void take_import(struct remote_op *op, enum rpc_code code, const char *text,
                        const uint8_t *data, size_t size)
{
	simpler_status status = remote_op_answer(op, code, text);

	if (status == SIMPLER_OK)
		status = remote_op_take_handle(op, data, size);
	if (status == SIMPLER_OK)
		op->done(op, NULL);
	else
		remote_op_fail(op);
}

static simpler_status encode_import(struct remote_op *op, struct rpc_buffer *out)
{
	op->import.ttl_ms = op->storage->ttl_ms;
	return msg_import_encode(&op->import, out);
}

static void import(struct remote_op *op)
{
	struct rpc_buffer buffer;

	if (encode_import(op, &buffer) == SIMPLER_OK)
		remote_op_call(op, MSG_IMPORT_TENSOR, &buffer, remote_op_end_with_handle);
	else
		remote_op_fail(op);
}

void remote_begin_import(struct remote_op *op)
{
	remote_op_ask_storage(op, import);
}

/* --- releasing --- */

void remote_begin_release(struct remote_op *op)
{
	struct rpc_buffer buffer;

	if (msg_grant_encode(&op->import.grant, &buffer) == SIMPLER_OK)
		remote_op_call(op, MSG_RELEASE_GRANT, &buffer, remote_op_end_empty);
	else
		remote_op_fail(op);
}

/* --- all three --- */

static void on_given_back(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                          size_t size)
{
	/* Nobody waits for it: what is not released in time ends by itself. */
	(void)context;
	(void)code;
	(void)text;
	(void)data;
	(void)size;
}

/* What was imported stays, and what was not is an error that is told in any case. */
static void give_back(const struct remote_op *op)
{
	struct rpc_buffer buffer;

	if (msg_grant_encode(&op->import.grant, &buffer) == SIMPLER_OK)
		rpc_unary(op->source->channel, MSG_RELEASE_GRANT, clock_after_ms(RELEASE_MS), false,
		          &buffer, on_given_back, NULL);
}

static void on_brought(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                       size_t size)
{
	if (remote_op_asks_again(context, code))
		return;
	give_back(context);
	take_import(context, code, text, data, size);
}

static void import_granted(struct remote_op *op)
{
	struct rpc_buffer buffer;

	if (encode_import(op, &buffer) == SIMPLER_OK) {
		remote_op_call(op, MSG_IMPORT_TENSOR, &buffer, on_brought);
	} else {
		give_back(op);
		remote_op_fail(op);
	}
}

static void on_granted(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                       size_t size)
{
	struct remote_op *op = context;
	simpler_status status = remote_op_answer(op, code, text);

	if (status == SIMPLER_OK)
		status = take_grant(op, data, size);
	if (status != SIMPLER_OK) {
		remote_op_fail(op);
		return;
	}
	op->node = (struct remote_child *)op->storage->storage.child;
	remote_op_ask_storage(op, import_granted);
}

void remote_begin_bring(struct remote_op *op, struct exec_storage *from)
{
	op->source = op->node = (struct remote_child *)from->child;
	address_of(op->source, &op->import);
	export(op, remote_storage_of(from), false, 0, on_granted);
}
