/* A log entry of a range from any bytes: refused, or all its commands are there and lie within it.
 */
#include "base/assert.h"
#include "range/entry.h"
#include "range/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct range_entry entry;
    if (range_entry_decode(slice_make(data, size), &entry) != STATUS_OK) return 0;
    ASSERT_CMP(entry.count, >, 0);
    ASSERT_CMP(entry.count, <=, RANGE_ENTRY_COMMANDS_MAX);
    struct range_entry walk = entry, again;
    struct buf bytes = {0};
    range_entry_begin(&bytes, entry.span_version, entry.count);
    for (uint32_t i = 0; i < entry.count; i++) {
        struct slice command = range_entry_next(&walk);
        ASSERT(command.data >= data && command.data + command.len <= data + size);
        size_t at = range_entry_add(&bytes, command);
        ASSERT(slice_equal(slice_make(bytes.data + at, command.len), command));
    }
    enum status status = range_entry_decode(slice_from_buf(&bytes), &again);
    ASSERT(status == STATUS_OK);
    ASSERT_CMP(again.count, ==, entry.count);
    ASSERT_CMP(again.span_version, ==, entry.span_version);
    buf_done(&bytes);
    return 0;
}
