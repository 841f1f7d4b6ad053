/* Operating errors (disk, network, memory limits, bad input) as one table.
 *
 * Three kinds of trouble are never mixed: broken invariants are ASSERTs (base/assert.h), operating
 * errors are an `enum status`, and deterministic rejections by the replicated state machine are
 * values in a reply (txn/command.h). */
#ifndef FLOTILLA_BASE_STATUS_H
#define FLOTILLA_BASE_STATUS_H

/* name, value, text */
#define STATUS_TABLE(X)                                    \
    X(OK, 0, "ok")                                         \
    X(NOT_FOUND, -1, "not found")                          \
    X(INVALID, -2, "invalid argument")                     \
    X(TOO_LARGE, -3, "too large")                          \
    X(BUSY, -4, "busy, retry after a pause")               \
    X(IO, -5, "input/output error")                        \
    X(CORRUPTION, -6, "corrupt data")                      \
    X(NO_SPACE, -7, "no space left on the disk")           \
    X(UNAVAILABLE, -8, "unavailable")                      \
    X(TIMEOUT, -9, "deadline passed")                      \
    X(NOT_LEADER, -10, "not the leader")                   \
    X(STALE_EPOCH, -11, "range has changed since")         \
    X(COMPACTED, -12, "log position was compacted away")   \
    X(EXISTS, -13, "exists already")                       \
    X(MISMATCH, -14, "belongs to another cluster or node") \
    X(UNSUPPORTED, -15, "not supported")                   \
    X(SHUTDOWN, -16, "shutting down")                      \
    X(LOCKED, -17, "in use by another process")            \
    X(DROPPED, -18, "proposal dropped, nothing changed")   \
    X(UNKNOWN_OUTCOME, -19, "outcome unknown, retry with the same request id")

enum status {
#define STATUS_ENUM(name, value, text) STATUS_##name = value,
    STATUS_TABLE(STATUS_ENUM)
#undef STATUS_ENUM
};

#define MUST_CHECK __attribute__((warn_unused_result))

const char *status_name(enum status status); /* "BUSY" */
const char *status_text(enum status status); /* "busy, retry after a pause" */

#endif
