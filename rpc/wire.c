/* Protocol buffers' wire format. */
#include "rpc/wire.h"

bool rpc_wire_next(struct decoder *in, struct rpc_wire_field *ret_field) {
    if (in->failed || decoder_left(in) == 0) return false;
    uint64_t key = decode_varint(in);
    *ret_field = (struct rpc_wire_field){.number = key >> 3, .type = (enum rpc_wire_type)(key & 7)};
    switch (ret_field->type) {
    case RPC_WIRE_VARINT:
        ret_field->value = decode_varint(in);
        break;
    case RPC_WIRE_FIXED64:
        ret_field->value = decode_u64(in);
        break;
    case RPC_WIRE_BYTES:
        ret_field->bytes = decode_bytes(in);
        break;
    case RPC_WIRE_FIXED32:
        ret_field->value = decode_u32(in);
        break;
    default: /* groups, long deprecated, and numbers that mean nothing */
        in->failed = true;
    }
    if (ret_field->number == 0) in->failed = true;
    return !in->failed;
}

void rpc_wire_append_varint(struct buf *out, uint32_t number, uint64_t value) {
    encode_varint(out, (uint64_t)number << 3 | RPC_WIRE_VARINT);
    encode_varint(out, value);
}

void rpc_wire_append_bytes(struct buf *out, uint32_t number, struct slice bytes) {
    encode_varint(out, (uint64_t)number << 3 | RPC_WIRE_BYTES);
    encode_bytes(out, bytes);
}
