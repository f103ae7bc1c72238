/* Parts that several messages are made of, between protobuf-c's structs and ours. */
#ifndef RPC_MESSAGES_TENSOR_H
#define RPC_MESSAGES_TENSOR_H

#include "rpc/messages.h"

#include "simpler_distributed_v1.pb-c.h"

typedef Simpler__Distributed__V1__TensorHandle pb_handle;
typedef Simpler__Distributed__V1__TensorRef pb_ref;
typedef Simpler__Distributed__V1__TensorSpan pb_span;
typedef Simpler__Distributed__V1__TensorPlace pb_place;

/* What a handle's message is made of. */
struct handle_room {
	pb_handle handle;
	pb_place also;
	pb_place *places[1];
};

/* Raise SIMPLER_EINVAL naming `field` unless the text is UTF-8 of at most `limit` bytes. */
simpler_status take_text(const char *text, size_t limit, const char *field);
/* A copy of `text` in `bump` that is UTF-8 of at most MSG_TEXT_MAX bytes; `text` may be NULL. It is
 * empty when memory is out: then there are more important errors. */
char *put_text(const char *text, struct bump *bump);
simpler_bytes take_bytes(ProtobufCBinaryData bytes);
ProtobufCBinaryData put_bytes(simpler_bytes bytes);

/* `message` may be NULL, which is an error. `field` is what the caller's message calls it. */
simpler_status take_handle(const pb_handle *message, const char *field, struct msg_handle *out);
/* Fills `*room`, and returns the message in it; it points into `handle`. */
pb_handle *put_handle(const struct msg_handle *handle, struct handle_room *room);

simpler_status take_span(const pb_span *message, struct span *out);
/* Fills `*room` and returns it. */
pb_span *put_span(const struct span *span, pb_span *room);

/* Checks dimensions, dtype and tag. `*nbytes` is what the elements take. */
simpler_status take_shape(const int64_t *shape, size_t ndim, int32_t dtype, int32_t tag,
                          struct msg_shape *out, uint64_t *nbytes);

/* Whether the offset and the inline bytes of `ref`, which has all else, are right for a shape of
 * `nbytes`; takes the offset. */
simpler_status check_ref(struct msg_tensor_ref *ref, uint64_t offset, uint64_t nbytes);

/* `kind` and `index` name the reference in errors: "tensor_refs", 3. */
simpler_status take_ref(const pb_ref *message, const char *kind, size_t index,
                        struct msg_tensor_ref *out);
/* `handle` is room for one; `out` points to it and into `ref`. */
void put_ref(const struct msg_tensor_ref *ref, struct handle_room *handle, pb_ref *out);

#endif
