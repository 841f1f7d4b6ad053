/* Commands as bytes. Every command has exactly one encoding, so equal commands have equal
 * fingerprints.
 *
 *   offset  bytes     field
 *   0       1         format version (1 or 2)
 *   1       8         commit_ts, little-endian; 0 until the leader stamps it
 *   9       varint+n  request id: length, bytes; length 0: not idempotent
 *           varint    guard count
 *           varint    operation count
 *           ...       guards, then operations
 *
 *   guard      kind u8 ‖ key (varint length, bytes) ‖ by kind:
 *     EXISTS, ABSENT   nothing
 *     EQUALS           value (varint length, bytes)
 *     VERSION          version varint
 *     UNCHANGED        end (varint length, bytes; empty: just the key) ‖ version varint
 *
 *   operation  kind u8 ‖ key (varint length, bytes) ‖ by kind:
 *     PUT, INSERT      value (varint length, bytes)
 *     DELETE           nothing
 *     ADD              delta, minimum, maximum: zigzag varints
 *
 * Version 2 has the layout of version 1 and another meaning: a command that takes more than
 * TXN_COMMAND_STEPS_MAX is refused. Version 1 is still evaluated as it always was, where it lies in
 * a log; nothing new is of it.
 *
 * The fingerprint covers everything from offset 9 on. A future format version must keep encoding
 * what version 1 can say in such a way that the fingerprint of it stays the same, as version 2
 * does: a retry may come through a newer router. */
#include "txn/command.h"

#include "base/assert.h"

#define COMMAND_FORMAT_UNBOUNDED 1u
#define COMMAND_FORMAT_VERSION 2u
#define COMMIT_TS_OFFSET 1u
#define CONTENT_OFFSET 9u
/* kind and key length: no guard or operation is shorter. */
#define PART_BYTES_MIN 2u

static void encode_guard(struct buf *out, const struct txn_guard *guard) {
    encode_u8(out, (uint8_t)guard->kind);
    encode_bytes(out, guard->key);
    switch (guard->kind) {
    case TXN_GUARD_EXISTS:
    case TXN_GUARD_ABSENT:
        break;
    case TXN_GUARD_EQUALS:
        encode_bytes(out, guard->value);
        break;
    case TXN_GUARD_VERSION:
        encode_varint(out, guard->version);
        break;
    case TXN_GUARD_UNCHANGED:
        encode_bytes(out, guard->end);
        encode_varint(out, guard->version);
        break;
    }
}

static void encode_op(struct buf *out, const struct txn_op *op) {
    encode_u8(out, (uint8_t)op->kind);
    encode_bytes(out, op->key);
    switch (op->kind) {
    case TXN_OP_PUT:
    case TXN_OP_INSERT:
        encode_bytes(out, op->value);
        break;
    case TXN_OP_DELETE:
        break;
    case TXN_OP_ADD:
        encode_zigzag(out, op->delta);
        encode_zigzag(out, op->minimum);
        encode_zigzag(out, op->maximum);
        break;
    }
}

void txn_command_encode(struct buf *out, const struct txn_command *command) {
    encode_u8(out, command->unbounded ? COMMAND_FORMAT_UNBOUNDED : COMMAND_FORMAT_VERSION);
    encode_u64(out, command->commit_ts);
    encode_bytes(out, command->request_id);
    encode_varint(out, command->guard_count);
    encode_varint(out, command->op_count);
    for (uint32_t i = 0; i < command->guard_count; i++)
        encode_guard(out, &command->guards[i]);
    for (uint32_t i = 0; i < command->op_count; i++)
        encode_op(out, &command->ops[i]);
}

static void decode_guard(struct decoder *in, struct txn_guard *guard) {
    *guard = (struct txn_guard){.kind = (enum txn_guard_kind)decode_u8(in)};
    guard->key = decode_bytes(in);
    switch (guard->kind) {
    case TXN_GUARD_EXISTS:
    case TXN_GUARD_ABSENT:
        return;
    case TXN_GUARD_EQUALS:
        guard->value = decode_bytes(in);
        return;
    case TXN_GUARD_VERSION:
        guard->version = decode_varint(in);
        return;
    case TXN_GUARD_UNCHANGED:
        guard->end = decode_bytes(in);
        guard->version = decode_varint(in);
        return;
    }
    in->failed = true;
}

static void decode_op(struct decoder *in, struct txn_op *op) {
    *op = (struct txn_op){.kind = (enum txn_op_kind)decode_u8(in)};
    op->key = decode_bytes(in);
    switch (op->kind) {
    case TXN_OP_PUT:
    case TXN_OP_INSERT:
        op->value = decode_bytes(in);
        return;
    case TXN_OP_DELETE:
        return;
    case TXN_OP_ADD:
        op->delta = decode_zigzag(in);
        op->minimum = decode_zigzag(in);
        op->maximum = decode_zigzag(in);
        return;
    }
    in->failed = true;
}

/* The counts come from outside: they are believed only as far as the bytes that are there can hold
 * them, so that a short forged command cannot ask for much memory. */
static bool counts_are_plausible(const struct decoder *in, uint64_t guards, uint64_t ops) {
    if (in->failed || guards > TXN_COMMAND_PARTS_MAX || ops > TXN_COMMAND_PARTS_MAX) return false;
    if (guards + ops > TXN_COMMAND_PARTS_MAX) return false;
    return (guards + ops) * PART_BYTES_MIN <= decoder_left(in);
}

/* All but the guards and operations. In place: every command passes here several times. */
static inline __attribute__((always_inline)) enum status decode_head(struct decoder *in,
                                                                     struct txn_command *command) {
    uint8_t version = decode_u8(in);
    if (in->failed) return STATUS_CORRUPTION;
    if (version < COMMAND_FORMAT_UNBOUNDED || version > COMMAND_FORMAT_VERSION)
        return STATUS_UNSUPPORTED;
    *command = (struct txn_command){.commit_ts = decode_u64(in),
                                    .unbounded = version == COMMAND_FORMAT_UNBOUNDED};
    command->request_id = decode_bytes(in);
    uint64_t guard_count = decode_varint(in), op_count = decode_varint(in);
    if (!counts_are_plausible(in, guard_count, op_count)) return STATUS_CORRUPTION;
    command->guard_count = (uint32_t)guard_count;
    command->op_count = (uint32_t)op_count;
    return STATUS_OK;
}

enum status txn_command_walk(struct slice bytes, uint64_t *ret_commit_ts) {
    struct decoder in = decoder_make(bytes);
    struct txn_command command;
    struct txn_guard guard;
    struct txn_op op;
    enum status status = decode_head(&in, &command);
    if (status != STATUS_OK) return status;
    for (uint32_t i = 0; i < command.guard_count && !in.failed; i++)
        decode_guard(&in, &guard);
    for (uint32_t i = 0; i < command.op_count && !in.failed; i++)
        decode_op(&in, &op);
    if (!decoder_finished(&in)) return STATUS_CORRUPTION;
    *ret_commit_ts = command.commit_ts;
    return STATUS_OK;
}

enum status txn_command_decode(struct slice bytes, struct arena *arena,
                               struct txn_command *ret_command) {
    struct decoder in = decoder_make(bytes);
    struct txn_command command;
    enum status status = decode_head(&in, &command);
    if (status != STATUS_OK) return status;
    if (command.guard_count > 0)
        command.guards = ARENA_NEW_ARRAY(arena, struct txn_guard, command.guard_count);
    if (command.op_count > 0) command.ops = ARENA_NEW_ARRAY(arena, struct txn_op, command.op_count);
    for (uint32_t i = 0; i < command.guard_count; i++)
        decode_guard(&in, &command.guards[i]);
    for (uint32_t i = 0; i < command.op_count; i++)
        decode_op(&in, &command.ops[i]);
    if (!decoder_finished(&in)) return STATUS_CORRUPTION;
    *ret_command = command;
    return STATUS_OK;
}

void txn_command_stamp(uint8_t *encoded, size_t len, uint64_t commit_ts) {
    ASSERT_CMP(len, >, CONTENT_OFFSET);
    ASSERT_CMP(encoded[0], <=, COMMAND_FORMAT_VERSION);
    encoded[0] = COMMAND_FORMAT_VERSION;
    for (unsigned i = 0; i < 8; i++)
        encoded[COMMIT_TS_OFFSET + i] = (uint8_t)(commit_ts >> (8 * i));
}

uint64_t txn_command_commit_ts(struct slice encoded) {
    ASSERT_CMP(encoded.len, >, CONTENT_OFFSET);
    struct decoder in = decoder_make(
        slice_make(encoded.data + COMMIT_TS_OFFSET, CONTENT_OFFSET - COMMIT_TS_OFFSET));
    return decode_u64(&in);
}

uint64_t txn_command_fingerprint(struct slice encoded) {
    ASSERT_CMP(encoded.len, >, CONTENT_OFFSET);
    return checksum64(slice_make(encoded.data + CONTENT_OFFSET, encoded.len - CONTENT_OFFSET));
}

static void widen(struct slice key, struct slice *first, struct slice *last) {
    if (slice_compare(key, *first) < 0) *first = key;
    if (slice_compare(key, *last) > 0) *last = key;
}

void txn_command_span(const struct txn_command *command, struct slice *ret_first,
                      struct slice *ret_last) {
    struct slice first = txn_command_anchor(command), last = first;
    for (uint32_t i = 0; i < command->guard_count; i++) {
        widen(command->guards[i].key, &first, &last);
        if (command->guards[i].end.len > 0) widen(command->guards[i].end, &first, &last);
    }
    for (uint32_t i = 0; i < command->op_count; i++)
        widen(command->ops[i].key, &first, &last);
    *ret_first = first;
    *ret_last = last;
}

static bool key_within(struct slice key, struct slice start, struct slice end) {
    return slice_compare(key, start) >= 0 && (end.len == 0 || slice_compare(key, end) < 0);
}

bool txn_command_within(const struct txn_command *command, struct slice start, struct slice end) {
    for (uint32_t i = 0; i < command->guard_count; i++) {
        const struct txn_guard *guard = &command->guards[i];
        if (!key_within(guard->key, start, end)) return false;
        if (end.len > 0 && slice_compare(guard->end, end) > 0) return false;
    }
    for (uint32_t i = 0; i < command->op_count; i++)
        if (!key_within(command->ops[i].key, start, end)) return false;
    return true;
}

static const struct txn_op *first_insert(const struct txn_command *command) {
    for (uint32_t i = 0; i < command->op_count; i++)
        if (command->ops[i].kind == TXN_OP_INSERT) return &command->ops[i];
    return NULL;
}

bool txn_command_inserts(const struct txn_command *command) {
    return first_insert(command) != NULL;
}

struct slice txn_command_anchor(const struct txn_command *command) {
    const struct txn_op *insert = first_insert(command);
    if (insert) return insert->key;
    if (command->op_count > 0) return command->ops[0].key;
    return command->guard_count > 0 ? command->guards[0].key : SLICE_EMPTY;
}
