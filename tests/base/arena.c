/* The step allocator and shared payloads. */
#include "base/arena.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>

#include "base/payload.h"
#include "base/prng.h"

/* Protects alignment, and pieces from overlapping, over many random sizes and several resets. */
Test(base_arena, pieces_are_aligned_and_do_not_overlap) {
    struct prng prng;
    prng_init(&prng, 1);
    struct arena arena;
    arena_init(&arena, 1024);
    for (int step = 0; step < 50; step++) {
        struct {
            uint8_t *start;
            size_t len;
        } pieces[200];
        for (int i = 0; i < 200; i++) {
            pieces[i].len = prng_below(&prng, i % 50 == 0 ? 5000 : 100);
            pieces[i].start = arena_alloc(&arena, pieces[i].len);
            cr_assert_eq((uintptr_t)pieces[i].start % 16, 0);
            memset(pieces[i].start, i, pieces[i].len);
        }
        for (int i = 0; i < 200; i++) {
            for (size_t at = 0; at < pieces[i].len; at++) {
                cr_assert_eq(pieces[i].start[at], (uint8_t)i);
            }
        }
        arena_reset(&arena);
        cr_assert_eq(arena.used_bytes, 0);
    }
    arena_done(&arena);
}

/* Protects the hot path from allocating again after a reset. */
Test(base_arena, reset_keeps_the_first_block) {
    struct arena arena = {0};
    void *first = arena_alloc(&arena, 100);
    cr_assert_geq(arena.used_bytes, 100);
    arena_reset(&arena);
    cr_assert_eq(arena_alloc(&arena, 100), first);
    arena_done(&arena);
    arena_done(&arena);
}

/* Protects memory: one huge step must not pin its size for ever. */
Test(base_arena, reset_gives_back_more_than_a_mebibyte) {
    struct arena arena = {0};
    void *huge = arena_alloc(&arena, 8 << 20);
    cr_assert_not_null(huge);
    arena_reset(&arena);
    cr_assert_null(arena.first);
    for (int i = 0; i < 40; i++)
        (void)arena_alloc(&arena, 60000); /* 40 blocks of 64 KiB */
    arena_reset(&arena);
    int kept = 0;
    for (int i = 0; i < 16; i++)
        (void)arena_alloc(&arena, 60000), kept++;
    cr_assert_eq(kept, 16);
    arena_done(&arena);
}

/* Protects against handing out a block that is still too small after a reset. */
Test(base_arena, a_kept_small_block_is_passed_over_for_a_large_piece) {
    struct arena arena;
    arena_init(&arena, 64);
    for (int i = 0; i < 5; i++)
        (void)arena_alloc(&arena, 64);
    arena_reset(&arena);
    (void)arena_alloc(&arena, 16);
    uint8_t *large = arena_alloc(&arena, 500);
    memset(large, 1, 500);
    (void)arena_alloc(&arena, 64);
    arena_done(&arena);
}

/* Protects the lifetime: the copy does not follow its source. */
Test(base_arena, copy_is_independent_of_its_source) {
    struct arena arena = {0};
    char source[] = "abc";
    struct slice copy = arena_copy(&arena, slice_make(source, 3));
    source[0] = 'x';
    cr_assert(slice_equal(copy, slice_from_text("abc")));
    cr_assert_eq(arena_copy(&arena, SLICE_EMPTY).len, 0);
    uint64_t *numbers = ARENA_NEW_ARRAY(&arena, uint64_t, 10);
    for (int i = 0; i < 10; i++)
        numbers[i] = 1;
    cr_assert(slice_equal(copy, slice_from_text("abc")));
    arena_done(&arena);
}

/* Protects the bytes while any reference lives. */
Test(base_payload, lives_until_the_last_reference) {
    struct payload *payload = payload_copy(slice_from_text("entry"));
    cr_assert_eq(payload_ref(payload), payload);
    payload_unref(payload);
    cr_assert(slice_equal(payload_slice(payload), slice_from_text("entry")));
    cr_assert_eq(payload->refs, 1);
    payload_unref(payload);
    cr_assert_null(payload_ref(NULL));
    payload_unref(NULL);
    cr_assert_eq(payload_slice(NULL).len, 0);
    struct payload *empty = payload_copy(SLICE_EMPTY);
    cr_assert_eq(payload_slice(empty).len, 0);
    payload_unref(empty);
}

static void *ref_and_unref(void *ctx) {
    for (int i = 0; i < 20000; i++) {
        struct payload *mine = payload_ref(ctx);
        payload_unref(mine);
    }
    return NULL;
}

/* Protects the count against lost updates between threads. */
Test(base_payload, count_survives_many_threads) {
    struct payload *payload = payload_new(8);
    memset(payload->data, 0, 8);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, ref_and_unref, payload), 0);
    }
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    cr_assert_eq(payload->refs, 1);
    payload_unref(payload);
}
