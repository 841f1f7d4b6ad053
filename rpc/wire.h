/* Protocol buffers' wire format, for the few messages that are read and written by hand: frames
 * (without copying), health, reflection. https://protobuf.dev/programming-guides/encoding/ */
#ifndef FLOTILLA_RPC_WIRE_H
#define FLOTILLA_RPC_WIRE_H

#include "base/codec.h"

enum rpc_wire_type {
    RPC_WIRE_VARINT = 0,
    RPC_WIRE_FIXED64 = 1,
    RPC_WIRE_BYTES = 2,
    RPC_WIRE_FIXED32 = 5
};

struct rpc_wire_field {
    uint64_t number;
    enum rpc_wire_type type;
    uint64_t value;     /* VARINT, FIXED64, FIXED32 */
    struct slice bytes; /* BYTES; borrows from the input */
};

/* The next field; false at the end, or when the bytes are no message (then in->failed). */
bool rpc_wire_next(struct decoder *in, struct rpc_wire_field *ret_field);

void rpc_wire_append_varint(struct buf *out, uint32_t number, uint64_t value);
void rpc_wire_append_bytes(struct buf *out, uint32_t number, struct slice bytes);

#endif
