/* Bytes: borrowed (`struct slice`) and owned (`struct buf`).
 *
 * A slice never owns. It is valid until the call it was passed to returns, unless the comment at
 * the function says longer. A buf owns its memory; a zeroed buf is empty and valid. Threads: none
 * of this is shared; guard it yourself. */
#ifndef FLOTILLA_BASE_SLICE_H
#define FLOTILLA_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data; /* may be NULL when len is 0 */
    size_t len;          /* bytes */
};

struct buf {
    uint8_t *data; /* owned; NULL when cap is 0 */
    size_t len;    /* bytes in use */
    size_t cap;    /* bytes allocated */
};

#define SLICE_EMPTY ((struct slice){NULL, 0})
#define SLICE_LITERAL(text) ((struct slice){(const uint8_t *)("" text), sizeof(text) - 1})

static inline struct slice slice_make(const void *data, size_t len) {
    return (struct slice){(const uint8_t *)data, len};
}

static inline struct slice slice_from_text(const char *text) {
    return (struct slice){(const uint8_t *)text, strlen(text)};
}

static inline struct slice slice_from_buf(const struct buf *buf) {
    return (struct slice){buf->data, buf->len};
}

/* Lexicographic by unsigned byte, shorter first: the order of keys everywhere in Flotilla. */
int slice_compare(struct slice a, struct slice b);
bool slice_equal(struct slice a, struct slice b);
bool slice_has_prefix(struct slice s, struct slice prefix);

/* Growth doubles. Allocation failure aborts the process (see base/memory.h): a replica that cannot
 * allocate can no longer keep its promises, and callers bound sizes beforehand. */
void buf_done(struct buf *buf); /* frees; leaves an empty buf */
void buf_clear(struct buf *buf);
void buf_grow(struct buf *buf, size_t extra); /* buf_reserve, when there is no room */
static inline void buf_reserve(struct buf *buf, size_t extra) {
    if (buf->len <= buf->cap && extra <= buf->cap - buf->len) return;
    buf_grow(buf, extra);
}
void buf_append(struct buf *buf, struct slice bytes);
static inline void buf_append_byte(struct buf *buf, uint8_t byte) {
    buf_reserve(buf, 1);
    buf->data[buf->len++] = byte;
}
void buf_assign(struct buf *buf, struct slice bytes); /* replaces */
void buf_printf(struct buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));     /* appends text */
struct buf buf_from_slice(struct slice bytes); /* copies */

/* The length of the UTF-8 sequence at the beginning of `bytes`, and its code point; 0 when it is
 * none. */
size_t slice_decode_utf8(struct slice bytes, uint32_t *ret_code_point);

/* The first key after every key that has `prefix`; false when there is none (all 0xff). */
bool buf_assign_prefix_end(struct buf *buf, struct slice prefix);

#endif
