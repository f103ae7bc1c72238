/* What the encoders and decoders of this folder share; around protobuf-c. */
#ifndef RPC_CODEC_H
#define RPC_CODEC_H

#include <protobuf-c/protobuf-c.h>

#include "base/bump.h"
#include "rpc/rpc.h"

/* Unpack into `bump`; NULL, with SIMPLER_EINVAL raised, when the bytes are not a message of this
 * type or need more memory than the limit of `bump`. Nothing is to be freed. */
void *codec_unpack(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t size,
                   struct bump *bump);
/* SIMPLER_ENOMEM only. */
simpler_status codec_pack(const ProtobufCMessage *message, struct rpc_buffer *out);

#endif
