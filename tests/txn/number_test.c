#include <stdio.h>

#include <criterion/criterion.h>
#include <inttypes.h>

#include "base/prng.h"
#include "txn/number.h"

static bool parses(const char *literal, int64_t *number) {
    return txn_number_parse(slice_from_text(literal), number);
}

/* A number has exactly one text, so that guards on the text and on the number agree. */
Test(txn_number, refuses_every_text_that_is_not_canonical) {
    static const char *const bad[] = {"",    "-",   "+1",  " 1",  "1 ",  "01", "-0", "00",
                                      "-01", "1.0", "1e3", "0x1", "--1", "1-", "a",  "\n1",
                                      "1\n", "٣",   "1_0", "1,0", "-a",  "−1"};
    int64_t number = 77;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect(!parses(bad[i], &number), "accepted \"%s\"", bad[i]);
    cr_assert(!txn_number_parse(slice_make("1\0", 2), &number));
    cr_assert_eq(number, 77, "an output is untouched on failure");
}

/* The ends of the 64-bit range are numbers, one step beyond is not. */
Test(txn_number, accepts_exactly_the_64_bit_range) {
    int64_t number;
    cr_assert(parses("9223372036854775807", &number) && number == INT64_MAX);
    cr_assert(parses("-9223372036854775808", &number) && number == INT64_MIN);
    cr_assert(!parses("9223372036854775808", &number));
    cr_assert(!parses("-9223372036854775809", &number));
    cr_assert(!parses("18446744073709551617", &number));
    cr_assert(!parses("99999999999999999999", &number));
    cr_assert(!parses("100000000000000000000", &number));
}

/* What is written can be read, for numbers of every magnitude. */
Test(txn_number, reads_back_what_it_writes) {
    struct prng prng;
    prng_init(&prng, 1);
    for (int i = 0; i < 20000; i++) {
        int64_t number = (int64_t)prng_next(&prng) >> prng_below(&prng, 64), again;
        uint8_t text[TXN_NUMBER_TEXT_BYTES_MAX];
        char expected[32];
        size_t len = txn_number_format(number, text);
        (void)snprintf(expected, sizeof(expected), "%" PRId64, number);
        cr_assert(slice_equal(slice_make(text, len), slice_from_text(expected)));
        cr_assert(txn_number_parse(slice_make(text, len), &again) && again == number);
    }
}
