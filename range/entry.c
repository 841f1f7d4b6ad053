#include "range/entry.h"

#include "base/assert.h"
#include "range/limits.h"

void range_entry_begin(struct buf *out, uint64_t span_version, uint32_t count) {
    ASSERT_CMP(count, >, 0);
    ASSERT_CMP(count, <=, RANGE_ENTRY_COMMANDS_MAX);
    encode_u8(out, RANGE_ENTRY_VERSION);
    encode_u8(out, RANGE_ENTRY_COMMANDS);
    encode_varint(out, span_version);
    encode_varint(out, count);
}

size_t range_entry_add(struct buf *out, struct slice command) {
    ASSERT(command.len > 0);
    encode_bytes(out, command);
    return out->len - command.len;
}

enum status range_entry_decode(struct slice bytes, struct range_entry *ret_entry) {
    struct decoder in = decoder_make(bytes);
    uint8_t version = decode_u8(&in);
    if (!in.failed && version != RANGE_ENTRY_VERSION) return STATUS_UNSUPPORTED;
    struct range_entry entry = {.kind = (enum range_entry_kind)decode_u8(&in)};
    if (!in.failed && entry.kind != RANGE_ENTRY_COMMANDS) return STATUS_UNSUPPORTED;
    entry.span_version = decode_varint(&in);
    uint64_t count = decode_varint(&in);
    if (in.failed || count == 0 || count > RANGE_ENTRY_COMMANDS_MAX) return STATUS_CORRUPTION;
    entry.count = (uint32_t)count;
    entry.commands = in;
    for (uint64_t i = 0; i < count && !in.failed; i++) {
        if (decode_bytes(&in).len == 0) return STATUS_CORRUPTION;
    }
    if (!decoder_finished(&in)) return STATUS_CORRUPTION;
    *ret_entry = entry;
    return STATUS_OK;
}

struct slice range_entry_next(struct range_entry *entry) {
    struct slice command = decode_bytes(&entry->commands);
    ASSERT(!entry->commands.failed);
    return command;
}
