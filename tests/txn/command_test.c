#include "base/prng.h"
#include "tests/txn/harness.h"

static enum status check(const struct build *build, const char *expected_text) {
    struct buf error = {0};
    enum status status = txn_command_check(&build->command, &error);
    buf_append_byte(&error, 0);
    if (expected_text)
        cr_expect(strstr((const char *)error.data, expected_text), "error was: %s", error.data);
    buf_done(&error);
    return status;
}

static char *filled(size_t len) {
    char *bytes = malloc(len + 1);
    memset(bytes, 'k', len);
    bytes[len] = 0;
    return bytes;
}

/* A command of every kind of part survives encoding, and the leader's stamp changes nothing else.
 */
Test(txn_command, reads_back_what_it_writes) {
    struct build build;
    build_begin(&build, "request-1");
    build_guard(&build, TXN_GUARD_EXISTS, "a");
    build_guard(&build, TXN_GUARD_ABSENT, "b");
    build_equals(&build, "c", "value");
    build_version(&build, "d", UINT64_MAX);
    build_unchanged(&build, "e", "f", 12345);
    build_unchanged(&build, "g", "", 0);
    build_put(&build, "h", "");
    build_delete(&build, "i");
    build_insert(&build, "j", "v");
    build_add(&build, "k", INT64_MIN, INT64_MIN, INT64_MAX);
    struct buf encoded = {0}, again = {0};
    struct arena arena;
    struct txn_command decoded;
    arena_init(&arena, 0);
    txn_command_encode(&encoded, &build.command);
    cr_assert_eq(txn_command_encoded_bytes(&build.command), encoded.len);
    uint64_t fingerprint = txn_command_fingerprint(slice_from_buf(&encoded));
    txn_command_stamp(encoded.data, encoded.len, 0x0123456789abcdefu);
    cr_assert_eq(txn_command_fingerprint(slice_from_buf(&encoded)), fingerprint);
    cr_assert_eq(txn_command_decode(slice_from_buf(&encoded), &arena, &decoded), STATUS_OK);
    cr_assert_eq(decoded.commit_ts, 0x0123456789abcdefu);
    cr_assert_eq(decoded.guards[4].version, 12345);
    cr_assert_eq(decoded.ops[3].delta, INT64_MIN);
    txn_command_encode(&again, &decoded);
    cr_assert(slice_equal(slice_from_buf(&encoded), slice_from_buf(&again)));
    buf_done(&encoded);
    buf_done(&again);
    arena_done(&arena);
}

/* Cut, extended or foreign bytes are refused, whatever the place of the damage. */
Test(txn_command, refuses_bytes_that_are_not_a_command) {
    struct build build;
    build_begin(&build, "id");
    build_equals(&build, "c", "value");
    build_add(&build, "k", -5, 0, 100);
    struct buf encoded = {0};
    struct arena arena;
    struct txn_command decoded;
    arena_init(&arena, 0);
    txn_command_encode(&encoded, &build.command);
    for (size_t len = 0; len < encoded.len; len++)
        cr_assert_eq(txn_command_decode(slice_make(encoded.data, len), &arena, &decoded),
                     STATUS_CORRUPTION);
    buf_append_byte(&encoded, 0);
    cr_assert_eq(txn_command_decode(slice_from_buf(&encoded), &arena, &decoded), STATUS_CORRUPTION);
    encoded.len--;
    for (unsigned version = 0; version < 256; version++) {
        encoded.data[0] = (uint8_t)version;
        bool known = version == 1 || version == 2;
        cr_assert_eq(txn_command_decode(slice_from_buf(&encoded), &arena, &decoded),
                     known ? STATUS_OK : STATUS_UNSUPPORTED);
        cr_assert(!known || decoded.unbounded == (version == 1));
    }
    buf_done(&encoded);
    arena_done(&arena);
}

/* A retry through an older router is still a retry; and nothing whose evaluation has no bound gets
 * into a log any more. */
Test(txn_command, stamping_makes_an_older_format_the_present_one) {
    struct build build;
    build_begin(&build, "id");
    build_unchanged(&build, "a", "z", 7);
    build_put(&build, "k", "value");
    struct buf present = {0}, older = {0};
    txn_command_encode(&present, &build.command);
    build.command.unbounded = true;
    txn_command_encode(&older, &build.command);
    cr_assert_eq(older.data[0], 1);
    cr_assert_eq(txn_command_fingerprint(slice_from_buf(&older)),
                 txn_command_fingerprint(slice_from_buf(&present)));
    txn_command_stamp(present.data, present.len, 9);
    txn_command_stamp(older.data, older.len, 9);
    cr_assert(slice_equal(slice_from_buf(&older), slice_from_buf(&present)));
    buf_done(&present);
    buf_done(&older);
}

/* A count that the bytes cannot hold must not reserve memory. */
Test(txn_command, believes_no_count_beyond_its_bytes) {
    struct buf bytes = {0};
    struct arena arena;
    struct txn_command decoded;
    arena_init(&arena, 0);
    encode_u8(&bytes, 1);
    encode_u64(&bytes, 0);
    encode_bytes(&bytes, SLICE_EMPTY);
    encode_varint(&bytes, 9999);
    encode_varint(&bytes, 0);
    cr_assert_eq(txn_command_decode(slice_from_buf(&bytes), &arena, &decoded), STATUS_CORRUPTION);
    cr_assert_eq(arena.used_bytes, 0);
    buf_done(&bytes);
    arena_done(&arena);
}

/* The same request has the same identity; a request that differs anywhere has another. */
Test(txn_command, fingerprints_tell_requests_apart) {
    uint64_t seen[4];
    for (int i = 0; i < 4; i++) {
        struct build build;
        struct buf encoded = {0};
        build_begin(&build, "id");
        build_add(&build, i == 1 ? "l" : "k", i == 2 ? 6 : 5, 0, i == 3 ? 99 : 100);
        txn_command_encode(&encoded, &build.command);
        seen[i] = txn_command_fingerprint(slice_from_buf(&encoded));
        for (int j = 0; j < i; j++)
            cr_assert_neq(seen[i], seen[j]);
        buf_done(&encoded);
    }
}

/* Every limit refuses with its name and value, one below it passes. */
Test(txn_command, states_the_limit_that_a_command_breaks) {
    struct build build;
    build_begin(&build, "");
    cr_expect_eq(check(&build, "neither guards nor operations"), STATUS_INVALID);

    char *key = filled(TXN_KEY_BYTES_MAX + 1), *value = filled(TXN_VALUE_BYTES_MAX + 1);
    build_put(&build, key, "v");
    cr_expect_eq(check(&build, "4097 bytes; the limit is 4096"), STATUS_TOO_LARGE);
    build.ops[0].key.len--;
    cr_expect_eq(check(&build, NULL), STATUS_OK);
    build.ops[0].key.len = 0;
    cr_expect_eq(check(&build, "the key is empty"), STATUS_INVALID);
    build.ops[0] = (struct txn_op){.kind = TXN_OP_PUT, .key = text("k"), .value = text(value)};
    cr_expect_eq(check(&build, "the limit is 1048576"), STATUS_TOO_LARGE);
    build.ops[0].value.len--;
    cr_expect_eq(check(&build, NULL), STATUS_OK);
    for (int i = 0; i < 10; i++)
        build_put(&build, "k", value), build.ops[i].value.len = TXN_VALUE_BYTES_MAX;
    build.ops[10].value.len = TXN_VALUE_BYTES_MAX;
    cr_expect_eq(check(&build, "the limit is 10485760"), STATUS_TOO_LARGE);

    build_begin(&build, key);
    build_put(&build, "k", "v");
    cr_expect_eq(check(&build, "the request id has"), STATUS_TOO_LARGE);
    build.command.request_id.len = TXN_REQUEST_ID_BYTES_MAX;
    cr_expect_eq(check(&build, NULL), STATUS_OK);

    struct txn_op *ops = calloc(TXN_COMMAND_PARTS_MAX + 1, sizeof(*ops));
    for (uint32_t i = 0; i <= TXN_COMMAND_PARTS_MAX; i++)
        ops[i] = (struct txn_op){.kind = TXN_OP_DELETE, .key = text("k")};
    build.command.ops = ops;
    build.command.op_count = TXN_COMMAND_PARTS_MAX + 1;
    cr_expect_eq(check(&build, "the limit is 10000"), STATUS_TOO_LARGE);
    build.command.op_count--;
    cr_expect_eq(check(&build, NULL), STATUS_OK);
    free(ops);
    free(key);
    free(value);
}

/* Parts that cannot mean anything are refused before they reach a log. */
Test(txn_command, refuses_parts_without_meaning) {
    struct build build;
    build_begin(&build, "");
    build_add(&build, "k", 1, 10, 9);
    cr_expect_eq(check(&build, "lower bound 10 is above the upper bound 9"), STATUS_INVALID);
    build_begin(&build, "");
    build_unchanged(&build, "m", "m", 1);
    cr_expect_eq(check(&build, "not after its start"), STATUS_INVALID);
    build_begin(&build, "");
    build_put(&build, "k", "v");
    build.ops[0].kind = 9;
    cr_expect_eq(check(&build, "unknown kind 9"), STATUS_INVALID);
    build_begin(&build, "");
    build_guard(&build, 0, "k");
    cr_expect_eq(check(&build, "unknown kind 0"), STATUS_INVALID);
}

/* Routing: an interval may end exactly where the range ends. */
Test(txn_command, knows_whether_it_fits_a_range) {
    struct build build;
    build_begin(&build, "");
    build_unchanged(&build, "c", "m", 1);
    build_put(&build, "d", "v");
    cr_assert(txn_command_within(&build.command, text("c"), text("m")));
    cr_assert(txn_command_within(&build.command, text(""), text("")));
    cr_assert(!txn_command_within(&build.command, text("c"), text("l")));
    cr_assert(!txn_command_within(&build.command, text("d"), text("")));
    build_put(&build, "m", "v");
    cr_assert(!txn_command_within(&build.command, text("c"), text("m")));
    struct slice first, last;
    txn_command_span(&build.command, &first, &last);
    cr_assert(slice_equal(first, text("c")) && slice_equal(last, text("m")));
    cr_assert(slice_equal(txn_command_anchor(&build.command), text("d")));
}

/* Every outcome survives encoding; damaged ones are refused. */
Test(txn_outcome, reads_back_what_it_writes) {
    struct arena arena;
    struct buf bytes = {0};
    int64_t numbers[] = {INT64_MIN, -1, 0, INT64_MAX};
    struct txn_outcome outcome = {.result = TXN_REFUSED_BOUND,
                                  .replayed = true,
                                  .commit_ts = UINT64_MAX,
                                  .index = 9999,
                                  .number = -42,
                                  .number_count = 4,
                                  .numbers = numbers};
    struct txn_outcome again;
    arena_init(&arena, 0);
    txn_outcome_encode(&bytes, &outcome);
    struct decoder in = decoder_make(slice_from_buf(&bytes));
    cr_assert_eq(txn_outcome_decode(&in, &arena, &again), STATUS_OK);
    cr_assert(decoder_finished(&in));
    cr_assert(again.result == outcome.result && again.replayed && again.number == -42);
    cr_assert(again.commit_ts == UINT64_MAX && again.index == 9999 && again.number_count == 4);
    cr_assert_arr_eq(again.numbers, numbers, sizeof(numbers));
    for (size_t len = 0; len < bytes.len; len++) {
        in = decoder_make(slice_make(bytes.data, len));
        cr_assert_eq(txn_outcome_decode(&in, &arena, &again), STATUS_CORRUPTION);
    }
    bytes.data[0] = TXN_REFUSED_WORK + 1;
    in = decoder_make(slice_from_buf(&bytes));
    cr_assert_eq(txn_outcome_decode(&in, &arena, &again), STATUS_CORRUPTION);
    buf_done(&bytes);
    arena_done(&arena);
}
