/* What can be said about a command without looking at any state. Run at the router (so that the
 * client hears at once) and again at the range leader before it proposes (so that nothing bad is
 * ever in a log, whoever sent it). */
#include "txn/command.h"

#include "base/log.h"

/* How a part is called in an error: "operation 3 (key "a/b")". Kept short for keys that are
 * themselves too long. */
struct part {
    const char *what;
    uint32_t index;
    struct slice key;
};

static void name_part(struct buf *error, const struct part *part) {
    buf_printf(error, "%s %u (key %s): ", part->what, part->index, log_bytes(part->key));
}

static enum status check_key(const struct part *part, const char *which, struct slice key,
                             struct buf *error) {
    if (key.len == 0) {
        buf_printf(error, "%s %u: the %s is empty; keys have 1 to %u bytes", part->what,
                   part->index, which, TXN_KEY_BYTES_MAX);
        return STATUS_INVALID;
    }
    if (key.len > TXN_KEY_BYTES_MAX) {
        name_part(error, part);
        buf_printf(error, "the %s has %zu bytes; the limit is %u", which, key.len,
                   TXN_KEY_BYTES_MAX);
        return STATUS_TOO_LARGE;
    }
    return STATUS_OK;
}

static enum status check_value(const struct part *part, struct slice value, struct buf *error) {
    if (value.len <= TXN_VALUE_BYTES_MAX) return STATUS_OK;
    name_part(error, part);
    buf_printf(error, "the value has %zu bytes; the limit is %u", value.len, TXN_VALUE_BYTES_MAX);
    return STATUS_TOO_LARGE;
}

static enum status check_guard(const struct txn_guard *guard, uint32_t index, struct buf *error) {
    struct part part = {.what = "guard", .index = index, .key = guard->key};
    enum status status = check_key(&part, "key", guard->key, error);
    if (status != STATUS_OK) return status;
    switch (guard->kind) {
    case TXN_GUARD_EXISTS:
    case TXN_GUARD_ABSENT:
    case TXN_GUARD_VERSION:
        return STATUS_OK;
    case TXN_GUARD_EQUALS:
        return check_value(&part, guard->value, error);
    case TXN_GUARD_UNCHANGED:
        if (guard->end.len == 0) return STATUS_OK;
        if (slice_compare(guard->key, guard->end) < 0)
            return check_key(&part, "end of the interval", guard->end, error);
        name_part(error, &part);
        buf_printf(error, "the interval ends at %s, which is not after its start",
                   log_bytes(guard->end));
        return STATUS_INVALID;
    }
    name_part(error, &part);
    buf_printf(error, "unknown kind %u", (unsigned)guard->kind);
    return STATUS_INVALID;
}

static enum status check_op(const struct txn_op *op, uint32_t index, struct buf *error) {
    struct part part = {.what = "operation", .index = index, .key = op->key};
    enum status status = check_key(&part, "key", op->key, error);
    if (status != STATUS_OK) return status;
    switch (op->kind) {
    case TXN_OP_PUT:
    case TXN_OP_INSERT:
        return check_value(&part, op->value, error);
    case TXN_OP_DELETE:
        return STATUS_OK;
    case TXN_OP_ADD:
        if (op->minimum <= op->maximum) return STATUS_OK;
        name_part(error, &part);
        buf_printf(error, "the lower bound %ld is above the upper bound %ld", op->minimum,
                   op->maximum);
        return STATUS_INVALID;
    }
    name_part(error, &part);
    buf_printf(error, "unknown kind %u", (unsigned)op->kind);
    return STATUS_INVALID;
}

static enum status check_counts(const struct txn_command *command, struct buf *error) {
    if (command->request_id.len > TXN_REQUEST_ID_BYTES_MAX) {
        buf_printf(error, "the request id has %zu bytes; the limit is %u", command->request_id.len,
                   TXN_REQUEST_ID_BYTES_MAX);
        return STATUS_TOO_LARGE;
    }
    uint64_t parts = (uint64_t)command->guard_count + command->op_count;
    if (parts == 0) {
        buf_printf(error, "the command has neither guards nor operations");
        return STATUS_INVALID;
    }
    if (parts > TXN_COMMAND_PARTS_MAX) {
        buf_printf(error, "the command has %lu guards and operations; the limit is %u", parts,
                   TXN_COMMAND_PARTS_MAX);
        return STATUS_TOO_LARGE;
    }
    return STATUS_OK;
}

static uint64_t varint_bytes(uint64_t value) {
    uint64_t bytes = 1;
    for (; value >= 0x80; value >>= 7)
        bytes++;
    return bytes;
}

static uint64_t zigzag_bytes(int64_t value) {
    return varint_bytes(((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0));
}

static uint64_t bytes_bytes(struct slice bytes) {
    return varint_bytes(bytes.len) + bytes.len;
}

uint64_t txn_command_encoded_bytes(const struct txn_command *command) {
    uint64_t bytes = 9 + bytes_bytes(command->request_id) + varint_bytes(command->guard_count) +
                     varint_bytes(command->op_count);
    for (uint32_t i = 0; i < command->guard_count; i++) {
        const struct txn_guard *guard = &command->guards[i];
        bytes += 1 + bytes_bytes(guard->key);
        if (guard->kind == TXN_GUARD_EQUALS) bytes += bytes_bytes(guard->value);
        if (guard->kind == TXN_GUARD_UNCHANGED) bytes += bytes_bytes(guard->end);
        if (guard->kind == TXN_GUARD_UNCHANGED || guard->kind == TXN_GUARD_VERSION)
            bytes += varint_bytes(guard->version);
    }
    for (uint32_t i = 0; i < command->op_count; i++) {
        const struct txn_op *op = &command->ops[i];
        bytes += 1 + bytes_bytes(op->key);
        if (op->kind == TXN_OP_PUT || op->kind == TXN_OP_INSERT) bytes += bytes_bytes(op->value);
        if (op->kind == TXN_OP_ADD)
            bytes +=
                zigzag_bytes(op->delta) + zigzag_bytes(op->minimum) + zigzag_bytes(op->maximum);
    }
    return bytes;
}

enum status txn_command_check(const struct txn_command *command, struct buf *error) {
    enum status status = check_counts(command, error);
    for (uint32_t i = 0; status == STATUS_OK && i < command->guard_count; i++)
        status = check_guard(&command->guards[i], i, error);
    for (uint32_t i = 0; status == STATUS_OK && i < command->op_count; i++)
        status = check_op(&command->ops[i], i, error);
    if (status != STATUS_OK) return status;
    uint64_t bytes = txn_command_encoded_bytes(command);
    if (bytes > TXN_COMMAND_BYTES_MAX) {
        buf_printf(error, "the command has %lu bytes; the limit is %u", bytes,
                   TXN_COMMAND_BYTES_MAX);
        return STATUS_TOO_LARGE;
    }
    return STATUS_OK;
}
