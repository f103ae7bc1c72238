#include "exec/remote_storage.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "exec/remote_staging.h"
#include "rpc/rpc.h"

/* For what nobody waits for: the lease sees to what is not freed in time. */
#define FREE_MS 10000u

/* --- storage --- */

static void on_let_go(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                      size_t size)
{
	(void)context;
	(void)code;
	(void)text;
	(void)data;
	(void)size;
}

/* Nobody names it any more. */
static void let_go(struct exec_storage *storage)
{
	struct remote_storage *remote = remote_storage_of(storage);
	struct remote_child *node = (struct remote_child *)storage->child;
	struct rpc_buffer buffer;

	if (!storage->abandoned && atomic_load(&remote->stored) &&
	    msg_free_encode(&remote->place.handle, &buffer) == SIMPLER_OK)
		rpc_unary(node->channel, MSG_FREE_TENSOR, clock_after_ms(FREE_MS), false, &buffer,
		          on_let_go, NULL);
	free(remote);
}

void remote_storage_store(struct remote_storage *storage, const struct msg_handle *handle)
{
	transport_storage_take(&storage->place, handle);
	storage->life = remote_life(storage->storage.child);
	atomic_store(&storage->stored, true);
}

simpler_status remote_make_storage(struct exec_child *child, uint64_t nbytes,
                                   struct exec_storage **out)
{
	struct remote_storage *storage = calloc(1, sizeof(*storage));

	if (!storage)
		return error_raise(SIMPLER_ENOMEM, "out of memory for a tensor on %s", child->name);
	storage->storage.child = child;
	storage->storage.nbytes = nbytes;
	storage->storage.writable = true;
	storage->storage.unused = let_go;
	atomic_init(&storage->storage.references, 1);
	storage->place.handle.nbytes = nbytes;
	*out = &storage->storage;
	return SIMPLER_OK;
}

/* --- operations --- */

void remote_op_init(struct remote_op *op)
{
	op->node = (struct remote_child *)op->storage->storage.child;
	(void)pthread_mutex_init(&op->lock, NULL);
	op->cancelled = false;
	op->call = NULL;
	op->moving = NULL;
	op->by_fabric = false;
}

void remote_op_cancel(struct remote_op *op)
{
	pthread_mutex_lock(&op->lock);
	op->cancelled = true;
	if (op->call)
		rpc_client_call_cancel(op->call);
	if (op->moving)
		transport_cancel(op->moving, &op->move, true);
	pthread_mutex_unlock(&op->lock);
}

bool remote_attend(struct remote_op *op, const _Atomic bool *ended)
{
	/* That of its storage: the operation's may be another by now, and has the same ones. */
	const struct remote_child *node = (const struct remote_child *)op->storage->storage.child;

	return op->by_fabric ? fabric_attend(node->fabric, ended)
	                     : rpc_client_attend(node->client, ended);
}

void remote_op_release(struct remote_op *op)
{
	(void)pthread_mutex_destroy(&op->lock);
}

/* gRPC calls it cancelled when a call never got so far as to be late. */
static bool is_late(struct remote_op *op)
{
	bool cancelled;

	pthread_mutex_lock(&op->lock);
	cancelled = op->cancelled;
	pthread_mutex_unlock(&op->lock);
	return !cancelled && clock_now() >= op->deadline;
}

/* What has no time left is not begun, as it might be quick enough all the same. */
static simpler_status check_time(struct remote_op *op)
{
	return is_late(op) ? error_raise(SIMPLER_EDEADLINE, "it had no time") : SIMPLER_OK;
}

void remote_op_fail(struct remote_op *op)
{
	struct error error;

	if (is_late(op))
		(void)error_raise(SIMPLER_EDEADLINE, "it did not end in the time that it had");
	(void)error_context("on %s", op->node->child.name);
	error_save(&error);
	op->done(op, &error);
}

/* --- one call --- */

static void call_ended(struct remote_op *op)
{
	pthread_mutex_lock(&op->lock);
	op->call = NULL;
	pthread_mutex_unlock(&op->lock);
}

void remote_op_call(struct remote_op *op, const char *path, struct rpc_buffer *message,
                    rpc_done *done)
{
	struct rpc_client_call *call = NULL;

	if (check_time(op) == SIMPLER_OK) {
		call = rpc_client_call_create(op->node->channel, path, op->deadline);
		if (!call)
			(void)error_raise(SIMPLER_ENOMEM, "out of memory for a call");
	}
	if (!call) {
		rpc_buffer_release(message);
		remote_op_fail(op);
		return;
	}
	pthread_mutex_lock(&op->lock);
	op->call = call;
	if (op->cancelled)
		rpc_client_call_cancel(call);
	pthread_mutex_unlock(&op->lock);
	rpc_unary_begin(call, false, message, done, op);
}

simpler_status remote_op_answer(struct remote_op *op, enum rpc_code code, const char *text)
{
	struct error error;

	call_ended(op);
	if (code == RPC_OK)
		return SIMPLER_OK;
	if (!text || text[0] == '\0')
		text = rpc_code_name(code);
	error_init_untrusted(&error, rpc_status_of(code), text, strlen(text));
	return error_restore(&error);
}

simpler_status remote_op_take_handle(struct remote_op *op, const uint8_t *data, size_t size)
{
	struct remote_storage *storage = op->storage;
	struct msg_handle answer;
	simpler_status status;
	struct bump bump;

	bump_init(&bump, MSG_BUMP_LIMIT(size));
	status = msg_handle_decode(data, size, &bump, &answer);
	if (status == SIMPLER_OK &&
	    (answer.handle_id == 0 || answer.nbytes != storage->storage.nbytes))
		status = error_raise(SIMPLER_EPROTOCOL,
		                     "the node answered with storage of another size than asked");
	if (status == SIMPLER_OK && !atomic_load(&storage->stored)) {
		remote_storage_store(storage, &answer);
	}
	bump_release(&bump);
	return status;
}

void remote_op_ask_storage(struct remote_op *op, void (*ask)(struct remote_op *op))
{
	op->mark = staging_cache_mark(&op->node->staging);
	op->again = ask;
	ask(op);
}

static void ask_again(void *context)
{
	struct remote_op *op = context;

	remote_op_ask_storage(op, op->again);
}

bool remote_op_asks_again(struct remote_op *op, enum rpc_code code)
{
	if (code == RPC_RESOURCE_EXHAUSTED)
		call_ended(op);
	return remote_staging_make_room(op->node, op->mark, code, ask_again, op);
}

void remote_op_end_with_handle(void *context, enum rpc_code code, const char *text,
                               const uint8_t *data, size_t size)
{
	struct remote_op *op = context;
	simpler_status status = remote_op_answer(op, code, text);

	if (status == SIMPLER_OK)
		status = remote_op_take_handle(op, data, size);
	if (status == SIMPLER_OK)
		op->done(op, NULL);
	else
		remote_op_fail(op);
}

static void on_allocated(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                         size_t size)
{
	if (!remote_op_asks_again(context, code))
		remote_op_end_with_handle(context, code, text, data, size);
}

static void alloc(struct remote_op *op)
{
	const struct msg_alloc message = { .nbytes = op->storage->storage.nbytes,
		                           .ttl_ms = op->storage->ttl_ms };
	struct rpc_buffer buffer;

	if (msg_alloc_encode(&message, &buffer) == SIMPLER_OK)
		remote_op_call(op, MSG_ALLOC_TENSOR, &buffer, on_allocated);
	else
		remote_op_fail(op);
}

void remote_op_end_empty(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                         size_t size)
{
	struct remote_op *op = context;

	(void)data;
	(void)size;
	if (remote_op_answer(op, code, text) == SIMPLER_OK)
		op->done(op, NULL);
	else
		remote_op_fail(op);
}

void remote_begin_alloc(struct remote_op *op)
{
	remote_op_ask_storage(op, alloc);
}

simpler_status remote_storage_check(const struct remote_storage *storage)
{
	struct exec_child *child = storage->storage.child;

	if (!atomic_load(&storage->stored))
		return error_raise(SIMPLER_ESTATE,
		                   "the tensor is not there yet: the task or the call that is to "
		                   "make it has not ended, or has failed; wait for the end of the "
		                   "run, or of the completion");
	if (storage->life == remote_life(child))
		return SIMPLER_OK;
	return error_raise(SIMPLER_ESTALE,
	                   "the tensor is gone: %s was started anew since it was stored there, or "
	                   "had not heard of this program for its session's time to live; store it "
	                   "again",
	                   child->name);
}

void remote_begin_refresh(struct remote_op *op, uint64_t ttl_ms)
{
	struct msg_refresh message = { .ttl_ms = ttl_ms };
	struct rpc_buffer buffer;
	simpler_status status = remote_storage_check(op->storage);

	if (status == SIMPLER_OK) {
		message.handle = op->storage->place.handle;
		status = msg_refresh_encode(&message, &buffer);
	}
	if (status == SIMPLER_OK)
		remote_op_call(op, MSG_REFRESH_TENSOR, &buffer, remote_op_end_with_handle);
	else
		remote_op_fail(op);
}

/* One that the node may not have heard of is told it once more, by let_go(). */
static void on_freed(void *context, enum rpc_code code, const char *text, const uint8_t *data,
                     size_t size)
{
	struct remote_op *op = context;

	op->storage->storage.abandoned = code == RPC_OK;
	remote_op_end_empty(op, code, text, data, size);
}

void remote_begin_free(struct remote_op *op)
{
	struct rpc_buffer buffer;

	if (remote_storage_check(op->storage) != SIMPLER_OK) {
		op->done(op, NULL); /* it is not there */
	} else if (msg_free_encode(&op->storage->place.handle, &buffer) == SIMPLER_OK) {
		remote_op_call(op, MSG_FREE_TENSOR, &buffer, on_freed);
	} else {
		remote_op_fail(op);
	}
}

/* --- bytes --- */

simpler_status remote_map(const struct exec_storage *storage, void **out)
{
	const struct remote_storage *remote = (const struct remote_storage *)storage;
	struct remote_child *node = (struct remote_child *)storage->child;
	struct transport *transport;
	simpler_status status = remote_storage_check(remote);

	if (status == SIMPLER_OK)
		status = remote_choose(node, SIMPLER_TRANSPORT_SHM, &remote->place, &transport);
	if (status != SIMPLER_OK)
		return status;
	*out = shm_transport_address(transport, &remote->place);
	return *out ? SIMPLER_OK : simpler_last_status();
}

static void on_moved(struct transport_move *move, const struct error *error)
{
	struct remote_op *op =
		(struct remote_op *)((char *)move - offsetof(struct remote_op, move));
	struct error told;

	pthread_mutex_lock(&op->lock);
	op->moving = NULL;
	pthread_mutex_unlock(&op->lock);
	if (error) {
		told = *error;
		error_add(&told,
		          move->write ? "writing a tensor on %s, which may be half-written"
		                      : "reading a tensor on %s into a buffer, which may be "
		                        "half-written",
		          op->node->child.name);
	}
	op->done(op, error ? &told : NULL);
}

void remote_begin_move(struct remote_op *op, bool write, const struct span *span,
                       const simpler_tensor *local, simpler_transport choice)
{
	struct transport *transport;
	simpler_status status = remote_storage_check(op->storage);

	if (status == SIMPLER_OK)
		status = check_time(op);
	if (status == SIMPLER_OK)
		status = remote_choose(op->node, choice, &op->storage->place, &transport);
	if (status != SIMPLER_OK) {
		remote_op_fail(op);
		return;
	}
	op->move.write = write;
	op->move.storage = &op->storage->place;
	op->move.span = *span;
	layout_init(&op->move.local, local);
	op->move.lands = false;
	op->move.attended = op->attended;
	op->move.deadline = op->deadline;
	op->move.done = on_moved;
	transport_move_init(&op->move);
	op->by_fabric = transport == op->node->transports[SIMPLER_TRANSPORT_FABRIC];
	pthread_mutex_lock(&op->lock);
	op->moving = transport;
	if (op->cancelled)
		transport_cancel(transport, &op->move, true);
	pthread_mutex_unlock(&op->lock);
	transport_start(transport, &op->move);
}
