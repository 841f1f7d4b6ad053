/* What a protocol-buffer message may hold, counted in its bytes before anything is unpacked: an
 * empty element takes two bytes on the wire and a hundred in memory, so that 16 MiB of them would
 * take a gigabyte, and seconds of the loop. */
#ifndef FLOTILLA_RPC_MESSAGE_LIMITS_H
#define FLOTILLA_RPC_MESSAGE_LIMITS_H

#include <protobuf-c/protobuf-c.h>

#include "base/slice.h"
#include "base/status.h"

struct rpc_message_limits {
    const ProtobufCMessageDescriptor *type;
    size_t bytes_max;      /* of the whole message */
    uint32_t elements_max; /* of repeated fields, at all depths together */
    uint32_t fields_max;   /* of all fields, the elements included */
};

/* The row of a type (the table is in the .c file). Every type of flotilla.v1 that is received has
 * one; other packages' have bounds in common. */
const struct rpc_message_limits *rpc_message_limits_of(const ProtobufCMessageDescriptor *type);

/* TOO_LARGE: `error` names the type and the bound that it passes. INVALID: such bytes are no
 * message. */
enum status rpc_message_check(const struct rpc_message_limits *limits,
                              const ProtobufCMessageDescriptor *type, struct slice bytes,
                              struct buf *error) MUST_CHECK;

#endif
