/* Bytes: order, growth, and the successor of a prefix. */
#include "base/slice.h"

#include <criterion/criterion.h>
#include <signal.h>

#include "base/prng.h"

static struct slice text(const char *chars) {
    return slice_from_text(chars);
}

static void assert_buf(const struct buf *buf, const char *expected) {
    cr_assert(slice_equal(slice_from_buf(buf), text(expected)), "got '%.*s', expected '%s'",
              (int)buf->len, (const char *)buf->data, expected);
}

/* Protects the order of keys: by unsigned byte, a prefix before what it begins. */
Test(base_slice, compares_by_unsigned_byte_and_then_length) {
    cr_assert_eq(slice_compare(text("a"), text("b")), -1);
    cr_assert_eq(slice_compare(text("b"), text("a")), 1);
    cr_assert_eq(slice_compare(text("a"), text("ab")), -1);
    cr_assert_eq(slice_compare(text("ab"), text("a")), 1);
    cr_assert_eq(slice_compare(text("ab"), text("ab")), 0);
    cr_assert_eq(slice_compare(text("\x7f"), text("\x80")), -1);
    cr_assert_eq(slice_compare(SLICE_EMPTY, text("")), 0);
    cr_assert_eq(slice_compare(SLICE_EMPTY, text("a")), -1);
}

/* Protects callers that pass an empty slice with no memory behind it. */
Test(base_slice, empty_slices_are_equal_and_prefix_everything) {
    cr_assert(slice_equal(SLICE_EMPTY, text("")));
    cr_assert(!slice_equal(SLICE_EMPTY, text("a")));
    cr_assert(slice_has_prefix(SLICE_EMPTY, SLICE_EMPTY));
    cr_assert(slice_has_prefix(text("a"), SLICE_EMPTY));
    cr_assert(slice_has_prefix(text("abc"), text("ab")));
    cr_assert(!slice_has_prefix(text("ab"), text("abc")));
    cr_assert(!slice_has_prefix(text("xbc"), text("ab")));
}

/* Protects contents while a buf grows through many reallocations. */
Test(base_slice, buf_keeps_its_bytes_while_it_grows) {
    struct buf buf = {0};
    for (unsigned i = 0; i < 10000; i++) {
        buf_append_byte(&buf, (uint8_t)(i * 31));
        buf_append(&buf, text("xyz"));
    }
    cr_assert_eq(buf.len, 40000);
    for (unsigned i = 0; i < 10000; i++) {
        cr_assert_eq(buf.data[i * 4], (uint8_t)(i * 31));
        cr_assert_eq(memcmp(buf.data + i * 4 + 1, "xyz", 3), 0);
    }
    buf_done(&buf);
    cr_assert_null(buf.data);
    cr_assert_eq(buf.len + buf.cap, 0);
    buf_done(&buf); /* a done buf is an empty one */
}

/* Protects re-use: clear keeps memory, assign replaces, printf appends. */
Test(base_slice, buf_assigns_clears_and_prints) {
    struct buf buf = buf_from_slice(text("hello"));
    assert_buf(&buf, "hello");
    buf_printf(&buf, " %d %s", 42, "worlds");
    assert_buf(&buf, "hello 42 worlds");
    size_t cap = buf.cap;
    buf_clear(&buf);
    cr_assert_eq(buf.len, 0);
    cr_assert_eq(buf.cap, cap);
    buf_assign(&buf, text("new"));
    assert_buf(&buf, "new");
    buf_assign(&buf, SLICE_EMPTY);
    cr_assert_eq(buf.len, 0);
    buf_done(&buf);
}

/* Protects `buf_assign(&key, part of key)`, which cutting a prefix off looks like. */
Test(base_slice, buf_can_be_assigned_a_part_of_itself) {
    struct buf buf = buf_from_slice(text("prefix/rest"));
    buf_assign(&buf, slice_make(buf.data + 7, 4));
    assert_buf(&buf, "rest");
    buf_done(&buf);
}

/* Protects against reading freed memory: growing may move what is being appended. */
Test(base_slice, buf_refuses_to_append_a_part_of_itself, .signal = SIGABRT) {
    struct buf buf = buf_from_slice(text("abc"));
    buf_append(&buf, slice_from_buf(&buf));
}

/* Protects against a length that wraps round. */
Test(base_slice, buf_refuses_an_absurd_reservation, .signal = SIGABRT) {
    struct buf buf = buf_from_slice(text("abc"));
    buf_reserve(&buf, SIZE_MAX - 1);
}

/* Protects prefix scans: the end is after everything with the prefix and nothing else. */
Test(base_slice, prefix_end_is_the_first_key_after_the_prefix) {
    struct buf end = {0};
    cr_assert(buf_assign_prefix_end(&end, text("abc")));
    assert_buf(&end, "abd");
    cr_assert(buf_assign_prefix_end(&end, text("a\xff\xff")));
    assert_buf(&end, "b");
    cr_assert(buf_assign_prefix_end(&end, slice_make("a\0", 2)));
    assert_buf(&end, "a\1");
    cr_assert(!buf_assign_prefix_end(&end, text("\xff\xff")));
    cr_assert(!buf_assign_prefix_end(&end, SLICE_EMPTY));
    buf_done(&end);
}

/* Protects the same against a random model of short keys over a tiny alphabet. */
Test(base_slice, prefix_end_separates_random_keys) {
    static const uint8_t alphabet[] = {0x00, 0x61, 0xfe, 0xff};
    struct prng prng;
    prng_init(&prng, 7);
    struct buf end = {0};
    for (int round = 0; round < 20000; round++) {
        uint8_t prefix[3], key[5];
        size_t prefix_len = prng_between(&prng, 1, 3), key_len = prng_between(&prng, 0, 5);
        for (size_t i = 0; i < prefix_len; i++)
            prefix[i] = alphabet[prng_below(&prng, 4)];
        for (size_t i = 0; i < key_len; i++)
            key[i] = alphabet[prng_below(&prng, 4)];
        struct slice p = slice_make(prefix, prefix_len), k = slice_make(key, key_len);
        bool bounded = buf_assign_prefix_end(&end, p);
        bool inside =
            slice_compare(k, p) >= 0 && (!bounded || slice_compare(k, slice_from_buf(&end)) < 0);
        cr_assert_eq(inside, slice_has_prefix(k, p));
    }
    buf_done(&end);
}
