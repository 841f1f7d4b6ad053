/* Protocol-buffer messages (protobuf-c) over calls and streams: packed once, straight into the
 * buffer that is sent. For services inside rpc/ only: no other folder sees protobuf-c types. */
#ifndef FLOTILLA_RPC_MESSAGE_H
#define FLOTILLA_RPC_MESSAGE_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "rpc/client.h"
#include "rpc/server.h"

/* Both count first what is to be unpacked (rpc/message_limits.h), and unpack into the arena:
 * nothing to free, valid until the arena is reset. INVALID: the bytes are not such a message, or,
 * in a request only, have a field that this version does not know; `error` names the message and
 * the field number.
 *
 * A server refuses unknown fields, because a newer client's wish must not be dropped silently. A
 * client skips them: a newer server answers with more than was asked for, and its older clients
 * must be able to go on while a cluster is being upgraded. */
enum status rpc_message_unpack_request(struct arena *arena,
                                       const ProtobufCMessageDescriptor *descriptor,
                                       struct slice bytes, struct buf *error,
                                       ProtobufCMessage **ret_message) MUST_CHECK;
enum status rpc_message_unpack_response(struct arena *arena,
                                        const ProtobufCMessageDescriptor *descriptor,
                                        struct slice bytes, struct buf *error,
                                        ProtobufCMessage **ret_message) MUST_CHECK;

void rpc_call_reply_message(struct rpc_call *call, const ProtobufCMessage *message);
enum status rpc_stream_send_message(struct rpc_stream *stream,
                                    const ProtobufCMessage *message) MUST_CHECK;
void rpc_client_call_message(struct rpc_client *client, const char *method,
                             const ProtobufCMessage *request,
                             const struct rpc_call_options *options, rpc_response_fn *done,
                             void *ctx);

static inline struct slice rpc_slice_from_bytes(ProtobufCBinaryData bytes) {
    return (struct slice){bytes.data, bytes.len};
}

/* Borrows; protobuf-c's packer does not write to it. */
static inline ProtobufCBinaryData rpc_bytes_from_slice(struct slice bytes) {
    return (ProtobufCBinaryData){bytes.len, (uint8_t *)bytes.data};
}

#endif
