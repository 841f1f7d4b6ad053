/* The outcome of a remote call: gRPC's status codes (same numbers) with a text for people. */
#ifndef FLOTILLA_RPC_STATUS_H
#define FLOTILLA_RPC_STATUS_H

#include "base/slice.h"
#include "base/status.h"

enum rpc_code {
    RPC_OK = 0,
    RPC_CANCELLED = 1,
    RPC_UNKNOWN = 2,
    RPC_INVALID_ARGUMENT = 3,
    RPC_DEADLINE_EXCEEDED = 4,
    RPC_NOT_FOUND = 5,
    RPC_ALREADY_EXISTS = 6,
    RPC_PERMISSION_DENIED = 7,
    RPC_RESOURCE_EXHAUSTED = 8,
    RPC_FAILED_PRECONDITION = 9,
    RPC_ABORTED = 10,
    RPC_OUT_OF_RANGE = 11,
    RPC_UNIMPLEMENTED = 12,
    RPC_INTERNAL = 13,
    RPC_UNAVAILABLE = 14,
    RPC_DATA_LOSS = 15,
    RPC_UNAUTHENTICATED = 16,
};

struct rpc_status {
    enum rpc_code code;
    struct slice text; /* UTF-8; names the thing and the way out; valid during the callback */
};

const char *rpc_code_name(enum rpc_code code); /* "DEADLINE_EXCEEDED" */
/* The nearest code for an operating error, and back. */
enum rpc_code rpc_code_from_status(enum status status);
enum status rpc_code_to_status(enum rpc_code code);

#endif
