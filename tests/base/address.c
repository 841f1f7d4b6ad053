/* Addresses: what is one, and what a port may be. */
#include "base/address.h"

#include <criterion/criterion.h>

#include "base/prng.h"

static const char *problem(const char *text, enum address_use use) {
    return address_parse(slice_from_text(text), use, NULL);
}

/* Protects what everybody writes: names, numbers, brackets; the host comes without them. */
Test(base_address, takes_host_and_port) {
    static const struct {
        const char *text, *host;
        uint16_t port;
    } cases[] = {
        {"127.0.0.1:7001", "127.0.0.1", 7001},
        {"db1.example:65535", "db1.example", 65535},
        {"[::1]:1", "::1", 1},
        {"localhost:08080", "localhost", 8080},
        {"0.0.0.0:7101", "0.0.0.0", 7101},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct address address;
        struct slice text = slice_from_text(cases[i].text);
        cr_assert_null(address_parse(text, ADDRESS_TO_DIAL, &address), "%s", cases[i].text);
        cr_assert(slice_equal(address.host, slice_from_text(cases[i].host)), "%s", cases[i].text);
        cr_assert_eq(address.port, cases[i].port);
    }
}

/* A port that does not fit in 16 bits must never become another one. */
Test(base_address, refuses_ports_that_are_none) {
    static const char *const bad[] = {"h:65536", "h:99999",  "h:70000",     "h:-1", "h:+1",
                                      "h:",      "h:port",   "h:1 ",        "h: 1", "h:0x10",
                                      "h:1.5",   "h:655350", "h:4294967297"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *why = problem(bad[i], ADDRESS_TO_DIAL);
        cr_assert(why && strstr(why, "1 to 65535"), "%s: %s", bad[i], why ? why : "taken");
        cr_assert_not_null(problem(bad[i], ADDRESS_TO_LISTEN), "%s", bad[i]);
    }
    cr_assert_not_null(problem("h:0", ADDRESS_TO_DIAL));
    cr_assert_null(problem("h:0", ADDRESS_TO_LISTEN));
}

/* Nor is a host what cannot be dialled, or would be read as a list or as another scheme. */
Test(base_address, refuses_hosts_that_are_none) {
    static const char *const bad[] = {"",      ":",      ":7001",      "h",      "::1:7001",
                                      "[]:1",  "[::1:1", "a b:1",      "a,b:1",  "unix:/x:1",
                                      "a/b:1", "a\n:1",  "\xc3\xa4:1", "[[h]]:1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_not_null(problem(bad[i], ADDRESS_TO_LISTEN), "%s", bad[i]);
    char longest[ADDRESS_BYTES_MAX + 2];
    memset(longest, 'h', sizeof(longest));
    memcpy(longest + ADDRESS_BYTES_MAX - 2, ":1", 3);
    cr_assert_null(problem(longest, ADDRESS_TO_DIAL));
    longest[ADDRESS_BYTES_MAX - 2] = 'h';
    memcpy(longest + ADDRESS_BYTES_MAX - 1, ":1", 3);
    cr_assert_not_null(problem(longest, ADDRESS_TO_DIAL));
}

/* Each of a list counts, an empty one too. */
Test(base_address, checks_every_address_of_a_list) {
    cr_assert_null(address_list_problem(SLICE_LITERAL("a:1")));
    cr_assert_null(address_list_problem(SLICE_LITERAL("a:1,b:2,[::1]:3")));
    static const char *const bad[] = {"", "a:1,", ",a:1", "a:1,,b:2", "a:1,b:99999", "a:1, b:2"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_assert_not_null(address_list_problem(slice_from_text(bad[i])), "%s", bad[i]);
}

/* Any bytes are read or refused; what is read is within the text. */
Test(base_address, reads_no_further_than_the_text) {
    static const uint8_t letters[] = ":[],.09ah/ ";
    struct prng prng;
    prng_init(&prng, 7);
    for (int round = 0; round < 20000; round++) {
        uint8_t text[12];
        size_t len = prng_below(&prng, sizeof(text) + 1);
        for (size_t i = 0; i < len; i++)
            text[i] = letters[prng_below(&prng, sizeof(letters))];
        struct address address;
        if (address_parse(slice_make(text, len), ADDRESS_TO_DIAL, &address)) continue;
        cr_assert(address.host.data >= text && address.host.data + address.host.len <= text + len);
        cr_assert_gt(address.port, 0);
    }
}
