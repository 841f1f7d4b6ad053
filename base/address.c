#include "base/address.h"

#define PORT_DIGITS_MAX 5u

static const char *const no_address = "is not HOST:PORT, such as 127.0.0.1:7001";

static bool is_host(struct slice host) {
    for (size_t i = 0; i < host.len; i++) {
        uint8_t byte = host.data[i];
        if (byte <= ' ' || byte >= 0x7f || byte == ',' || byte == '/') return false;
        if (byte == '[' || byte == ']') return false;
    }
    return host.len > 0;
}

static bool parse_port(struct slice digits, enum address_use use, uint16_t *ret_port) {
    uint32_t port = 0;
    if (digits.len == 0 || digits.len > PORT_DIGITS_MAX) return false;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9') return false;
        port = port * 10 + (digits.data[i] - '0');
    }
    if (port > UINT16_MAX || (port == 0 && use != ADDRESS_TO_LISTEN)) return false;
    *ret_port = (uint16_t)port;
    return true;
}

const char *address_parse(struct slice text, enum address_use use, struct address *ret_address) {
    struct address address;
    const uint8_t *colon = text.len ? memrchr(text.data, ':', text.len) : NULL;
    if (!colon) return no_address;
    if (text.len > ADDRESS_BYTES_MAX) return "is longer than an address can be (256 bytes)";
    struct slice host = slice_make(text.data, (size_t)(colon - text.data));
    struct slice digits = slice_make(colon + 1, text.len - host.len - 1);
    bool bracketed = host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
    if (bracketed)
        host = slice_make(host.data + 1, host.len - 2);
    else if (host.len > 0 && memchr(host.data, ':', host.len))
        return "has an IPv6 address without brackets; write it like [::1]:7001";
    if (!is_host(host)) return no_address;
    if (!parse_port(digits, use, &address.port))
        return use == ADDRESS_TO_LISTEN
                   ? "has a port that is not a number from 1 to 65535 (or 0, for any free one)"
                   : "has a port that is not a number from 1 to 65535";
    address.host = host;
    if (ret_address) *ret_address = address;
    return NULL;
}

const char *address_list_problem(struct slice text) {
    for (;;) {
        const uint8_t *comma = text.len ? memchr(text.data, ',', text.len) : NULL;
        size_t len = comma ? (size_t)(comma - text.data) : text.len;
        const char *problem = address_parse(slice_make(text.data, len), ADDRESS_TO_DIAL, NULL);
        if (problem || !comma) return problem;
        text = slice_make(comma + 1, text.len - len - 1);
    }
}
