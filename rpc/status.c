/* Status codes of remote calls, their names, and how operating errors map to them. */
#include "rpc/status.h"

#include <grpc/status.h>

#define RPC_CODE_TABLE(X)  \
    X(OK)                  \
    X(CANCELLED)           \
    X(UNKNOWN)             \
    X(INVALID_ARGUMENT)    \
    X(DEADLINE_EXCEEDED)   \
    X(NOT_FOUND)           \
    X(ALREADY_EXISTS)      \
    X(PERMISSION_DENIED)   \
    X(RESOURCE_EXHAUSTED)  \
    X(FAILED_PRECONDITION) \
    X(ABORTED)             \
    X(OUT_OF_RANGE)        \
    X(UNIMPLEMENTED)       \
    X(INTERNAL)            \
    X(UNAVAILABLE)         \
    X(DATA_LOSS)           \
    X(UNAUTHENTICATED)

/* The header spares its readers gRPC's own, so the numbers are checked here. */
#define RPC_CODE_CHECK(name) \
    _Static_assert((int)RPC_##name == (int)GRPC_STATUS_##name, "codes are gRPC's");
RPC_CODE_TABLE(RPC_CODE_CHECK)

const char *rpc_code_name(enum rpc_code code) {
    switch (code) {
#define RPC_CODE_NAME(name) \
    case RPC_##name:        \
        return #name;
        RPC_CODE_TABLE(RPC_CODE_NAME)
    }
    return "INVALID_CODE"; /* A peer may send any number. */
}

static const struct {
    enum status status;
    enum rpc_code code;
} code_map[] = {
    {STATUS_OK, RPC_OK},
    {STATUS_NOT_FOUND, RPC_NOT_FOUND},
    {STATUS_INVALID, RPC_INVALID_ARGUMENT},
    {STATUS_BUSY, RPC_RESOURCE_EXHAUSTED},
    {STATUS_TOO_LARGE, RPC_RESOURCE_EXHAUSTED},
    {STATUS_IO, RPC_INTERNAL},
    {STATUS_CORRUPTION, RPC_DATA_LOSS},
    {STATUS_NO_SPACE, RPC_INTERNAL},
    {STATUS_UNAVAILABLE, RPC_UNAVAILABLE},
    {STATUS_TIMEOUT, RPC_DEADLINE_EXCEEDED},
    {STATUS_NOT_LEADER, RPC_UNAVAILABLE},
    {STATUS_STALE_EPOCH, RPC_UNAVAILABLE},
    {STATUS_COMPACTED, RPC_OUT_OF_RANGE},
    {STATUS_EXISTS, RPC_ALREADY_EXISTS},
    {STATUS_MISMATCH, RPC_FAILED_PRECONDITION},
    {STATUS_UNSUPPORTED, RPC_UNIMPLEMENTED},
    {STATUS_SHUTDOWN, RPC_UNAVAILABLE},
    {STATUS_LOCKED, RPC_FAILED_PRECONDITION},
    {STATUS_DROPPED, RPC_UNAVAILABLE},
    {STATUS_UNKNOWN_OUTCOME, RPC_UNKNOWN},
};

#define CODE_MAP_COUNT (sizeof(code_map) / sizeof(code_map[0]))

enum rpc_code rpc_code_from_status(enum status status) {
    for (size_t i = 0; i < CODE_MAP_COUNT; i++)
        if (code_map[i].status == status) return code_map[i].code;
    return RPC_INTERNAL;
}

enum status rpc_code_to_status(enum rpc_code code) {
    if (code == RPC_CANCELLED) return STATUS_SHUTDOWN;
    for (size_t i = 0; i < CODE_MAP_COUNT; i++)
        if (code_map[i].code == code) return code_map[i].status; /* the first is the plainest */
    return STATUS_UNAVAILABLE;
}
