#include "cmd/write_parts.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define PARTS_MAX 8u

/* Pairs of option and text, ended by NULL. */
static enum status parse(const char *const *pairs, bool hex, struct write_parts *ret,
                         char ret_error[512]) {
    struct config_list_item items[PARTS_MAX];
    struct config_list list = {.items = items};
    struct buf error = {0};
    for (; pairs[0]; pairs += 2)
        items[list.count++] =
            (struct config_list_item){.option = pairs[0], .text = (char *)(uintptr_t)pairs[1]};
    enum status status = write_parts_parse(&list, hex, ret, &error);
    (void)snprintf(ret_error, 512, "%.*s", (int)error.len, (const char *)error.data);
    buf_done(&error);
    return status;
}

#define PAIRS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void expect_bytes(struct slice got, const char *wanted, size_t len) {
    cr_expect(slice_equal(got, slice_make(wanted, len)), "'%.*s', not '%s'", (int)got.len,
              (const char *)got.data, wanted);
}

static void expect_text(struct slice got, const char *wanted) {
    expect_bytes(got, wanted, strlen(wanted));
}

/* The example of every text about us must mean what it says. */
Test(write_parts, a_reservation_is_an_add_and_an_insert) {
    struct write_parts parts;
    char error[512];
    cr_assert_eq(parse(PAIRS("guard", "absent stop", "add",
                             "issuer/MUNI-77/exposure +250000 min 0 max 5000000", "insert",
                             "issuer/MUNI-77/reservation/R-88421 250000"),
                       false, &parts, error),
                 STATUS_OK, "%s", error);
    const struct txn_command *command = &parts.command;
    cr_assert(command->guard_count == 1 && command->op_count == 2);
    cr_expect_eq(command->guards[0].kind, TXN_GUARD_ABSENT);
    expect_text(command->guards[0].key, "stop");
    cr_expect_eq(command->ops[0].kind, TXN_OP_ADD);
    expect_text(command->ops[0].key, "issuer/MUNI-77/exposure");
    cr_expect(command->ops[0].delta == 250000 && command->ops[0].minimum == 0);
    cr_expect_eq(command->ops[0].maximum, 5000000);
    cr_expect_eq(command->ops[1].kind, TXN_OP_INSERT);
    expect_text(command->ops[1].value, "250000");
    write_parts_done(&parts);
}

Test(write_parts, every_guard_has_its_words) {
    struct write_parts parts;
    char error[512];
    cr_assert_eq(parse(PAIRS("guard", "exists a", "guard", "equals b two words", "guard",
                             "version c 470836651925176320", "guard", "unchanged d 7", "guard",
                             "unchanged e f 8"),
                       false, &parts, error),
                 STATUS_OK, "%s", error);
    const struct txn_guard *guards = parts.command.guards;
    cr_expect_eq(guards[0].kind, TXN_GUARD_EXISTS);
    cr_expect_eq(guards[1].kind, TXN_GUARD_EQUALS);
    expect_text(guards[1].value, "two words");
    cr_expect(guards[2].kind == TXN_GUARD_VERSION && guards[2].version == 470836651925176320u);
    cr_expect(guards[3].kind == TXN_GUARD_UNCHANGED && guards[3].version == 7);
    cr_expect_eq(guards[3].end.len, 0);
    expect_text(guards[4].end, "f");
    cr_expect_eq(guards[4].version, 8);
    write_parts_done(&parts);
}

/* Values are not trimmed, keys may hold anything: what was written is what is stored. */
Test(write_parts, bytes_arrive_as_they_were_meant) {
    struct write_parts parts;
    char error[512];
    cr_assert_eq(parse(PAIRS("put", "a  b ", "put", "empty ", "delete", "\"x y\\x00\\\"\\\\\"",
                             "add", "n -9223372036854775808", "put", "q \"{1}\""),
                       false, &parts, error),
                 STATUS_OK, "%s", error);
    const struct txn_op *ops = parts.command.ops;
    expect_text(ops[0].value, " b ");
    cr_expect_eq(ops[1].value.len, 0);
    expect_bytes(ops[2].key, "x y\0\"\\", 6);
    cr_expect_eq(ops[3].delta, INT64_MIN);
    cr_expect(ops[3].minimum == INT64_MIN && ops[3].maximum == INT64_MAX);
    expect_text(ops[4].value, "\"{1}\"");
    write_parts_done(&parts);
    cr_assert_eq(parse(PAIRS("put", "6b00 76"), true, &parts, error), STATUS_OK, "%s", error);
    expect_bytes(parts.command.ops[0].key, "k\0", 2);
    expect_text(parts.command.ops[0].value, "v");
    write_parts_done(&parts);
}

/* There is one standard input. */
Test(write_parts, one_value_may_be_standard_input) {
    struct write_parts parts;
    char error[512];
    cr_assert_eq(parse(PAIRS("put", "a 1", "insert", "b -"), false, &parts, error), STATUS_OK);
    cr_expect_eq(parts.input, &parts.command.ops[1].value);
    write_parts_done(&parts);
    cr_expect_eq(parse(PAIRS("put", "a -", "put", "b -"), false, &parts, error), STATUS_INVALID);
    cr_expect(strstr(error, "one part only"), "%s", error);
    write_parts_done(&parts);
}

/* Each mistake names the part, what is wrong, and the right notation. */
Test(write_parts, mistakes_are_explained) {
    static const struct {
        const char *option, *text, *problem;
        bool hex;
    } wrong[] = {
        {"guard", "missing k", "no such guard", false},
        {"guard", "absent", "the key is missing", false},
        {"guard", "absent a b", "more than belongs there", false},
        {"guard", "version k x", "not a whole number", false},
        {"guard", "version k -1", "not negative", false},
        {"put", "k", "the value is missing", false},
        {"delete", "", "the key is missing", false},
        {"delete", "a b", "more than belongs there", false},
        {"add", "k", "not a whole number", false},
        {"add", "k 9223372036854775808", "not a whole number", false},
        {"add", "k 1 below 5", "neither min nor max", false},
        {"add", "k 1 min", "not a whole number", false},
        {"put", "\"k v", "a quote is not closed", false},
        {"put", "\"k\"v", "a blank is missing", false},
        {"put", "\"k\\n\" v", "a backslash begins", false},
        {"put", "6b0 76", "not hexadecimal", true},
        {"put", "6b 7g", "not hexadecimal", true},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct write_parts parts;
        char error[512];
        cr_expect_eq(parse(PAIRS(wrong[i].option, wrong[i].text), wrong[i].hex, &parts, error),
                     STATUS_INVALID, "%s", wrong[i].text);
        cr_expect(strstr(error, wrong[i].problem), "%s: %s", wrong[i].text, error);
        cr_expect(strstr(error, wrong[i].text) && strstr(error, "KEY"), "%s", error);
        write_parts_done(&parts);
    }
}
