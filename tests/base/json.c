#include "base/json.h"

#include <criterion/criterion.h>

static void expect_printed(cJSON *object, const char *wanted) {
    struct buf out = {0};
    json_print_take(&out, object);
    buf_append_byte(&out, 0);
    cr_expect_str_eq((const char *)out.data, wanted);
    buf_done(&out);
}

/* Whoever reads numbers as doubles must get the number that was meant, or a string. */
Test(json, numbers_above_2_to_the_53_are_strings) {
    cJSON *object = json_object();
    json_add_u64(object, "exact", UINT64_C(9007199254740992));
    json_add_u64(object, "beyond", UINT64_C(9007199254740993));
    json_add_u64(object, "largest", UINT64_MAX);
    json_add_i64(object, "low", -INT64_C(9007199254740992));
    json_add_i64(object, "lower", -INT64_C(9007199254740993));
    json_add_i64(object, "lowest", INT64_MIN);
    expect_printed(object, "{\"exact\":9007199254740992,\"beyond\":\"9007199254740993\","
                           "\"largest\":\"18446744073709551615\",\"low\":-9007199254740992,"
                           "\"lower\":\"-9007199254740993\",\"lowest\":\"-9223372036854775808\"}");
}

/* Shells and regular expressions read these too: no exponents, no more digits than asked for. */
Test(json, numbers_are_plain_digits) {
    cJSON *object = json_object();
    json_add_u64(object, "round", UINT64_C(1000000000000000));
    json_add_decimal(object, "rate", 30700.4, 0);
    json_add_decimal(object, "ms", 0.36049, 3);
    cJSON *list = json_add_array(object, "list");
    json_add_u64(list, NULL, 1);
    json_add_u64(list, NULL, 2);
    json_add_null(object, "nothing");
    expect_printed(object, "{\"round\":1000000000000000,\"rate\":30700,\"ms\":0.360,\"list\":[1,2],"
                           "\"nothing\":null}");
}

/* A key of any bytes has one form that nobody mistakes for another key's. */
Test(json, bytes_that_are_no_text_are_hexadecimal_under_another_name) {
    cJSON *object = json_object();
    json_add_bytes(object, "key", SLICE_LITERAL("gr\xc3\xbc\xc3\x9f \"dich\"\n"), false);
    json_add_bytes(object, "value", SLICE_LITERAL("a\0b"), false);
    expect_printed(object,
                   "{\"key\":\"gr\xc3\xbc\xc3\x9f \\\"dich\\\"\\n\",\"value_hex\":\"610062\"}");
    object = json_object();
    json_add_bytes(object, "broken", SLICE_LITERAL("\xc3("), false);
    json_add_bytes(object, "asked", SLICE_LITERAL("a"), true);
    json_add_escaped(object, "escaped", SLICE_LITERAL("a\\\x01\"\xff"));
    expect_printed(object, "{\"broken_hex\":\"c328\",\"asked_hex\":\"61\","
                           "\"escaped\":\"a\\\\x5c\\\\x01\\\\x22\\\\xff\"}");
}
