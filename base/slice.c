/* Comparing borrowed bytes and growing owned ones. */
#include "base/slice.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/memory.h"

#define BUF_FIRST_CAP 64u

int slice_compare(struct slice a, struct slice b) {
    size_t shared = a.len < b.len ? a.len : b.len;
    /* memcmp must not see NULL, not even for zero bytes. */
    int order = shared > 0 ? memcmp(a.data, b.data, shared) : 0;
    if (order != 0) return order < 0 ? -1 : 1;
    if (a.len == b.len) return 0;
    return a.len < b.len ? -1 : 1;
}

bool slice_equal(struct slice a, struct slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool slice_has_prefix(struct slice s, struct slice prefix) {
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.data, prefix.data, prefix.len) == 0);
}

void buf_done(struct buf *buf) {
    memory_free(buf->data);
    *buf = (struct buf){0};
}

void buf_clear(struct buf *buf) {
    buf->len = 0;
}

void buf_grow(struct buf *buf, size_t extra) {
    ASSERT_CMP(buf->len, <=, buf->cap);
    ASSERT_CMP(extra, <=, SIZE_MAX / 2 - buf->len); /* doubling below cannot overflow */
    size_t needed = buf->len + extra;
    size_t cap = buf->cap > 0 ? buf->cap * 2 : BUF_FIRST_CAP;
    if (cap < needed) cap = needed;
    buf->data = memory_realloc(buf->data, cap);
    buf->cap = cap;
}

void buf_append(struct buf *buf, struct slice bytes) {
    if (bytes.len == 0) return;
    /* Growing may move the memory, so a buf cannot be appended to itself. */
    ASSERT(buf->cap == 0 || bytes.data >= buf->data + buf->cap ||
           bytes.data + bytes.len <= buf->data);
    buf_reserve(buf, bytes.len);
    memcpy(buf->data + buf->len, bytes.data, bytes.len);
    buf->len += bytes.len;
}

void buf_assign(struct buf *buf, struct slice bytes) {
    if (bytes.len == 0) {
        buf->len = 0;
        return;
    }
    /* The bytes may be a part of this very buf: then they fit already and memory does not move. */
    if (bytes.len > buf->cap) {
        buf->len = 0;
        buf_reserve(buf, bytes.len);
    }
    memmove(buf->data, bytes.data, bytes.len);
    buf->len = bytes.len;
}

void buf_printf(struct buf *buf, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int wanted = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    ASSERT(wanted >= 0);
    buf_reserve(buf, (size_t)wanted + 1); /* vsnprintf ends with a NUL that does not count */
    va_start(arguments, format);
    int written = vsnprintf((char *)buf->data + buf->len, (size_t)wanted + 1, format, arguments);
    va_end(arguments);
    ASSERT_CMP(written, ==, wanted);
    buf->len += (size_t)wanted;
}

struct buf buf_from_slice(struct slice bytes) {
    struct buf copy = {0};
    buf_append(&copy, bytes);
    return copy;
}

bool buf_assign_prefix_end(struct buf *buf, struct slice prefix) {
    /* Trailing 0xff bytes have no successor of their length: the end is the shorter prefix plus
     * one. */
    size_t len = prefix.len;
    while (len > 0 && prefix.data[len - 1] == 0xff)
        len--;
    if (len == 0) return false;
    buf_assign(buf, slice_make(prefix.data, len));
    buf->data[len - 1]++;
    return true;
}

size_t slice_decode_utf8(struct slice bytes, uint32_t *ret_code_point) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    if (bytes.len == 0) return 0;
    uint8_t lead = bytes.data[0];
    if (lead < 0x80) {
        *ret_code_point = lead;
        return 1;
    }
    size_t len = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || len > bytes.len) return 0;
    uint32_t code_point = lead & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        uint8_t next = bytes.data[i];
        if ((next & 0xc0) != 0x80) return 0;
        code_point = code_point << 6 | (next & 0x3f);
    }
    bool surrogate = code_point >= 0xd800 && code_point <= 0xdfff;
    if (code_point < smallest[len] || code_point > 0x10ffff || surrogate) return 0;
    *ret_code_point = code_point;
    return len;
}
