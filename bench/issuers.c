#include "bench/issuers.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/memory.h"
#include "bench/limits.h"

/* Neighbouring popularity ranks get different sectors, so that sorting by name scatters the hot
 * ones over the key space. */
static const char *const sectors[] = {"AGCY", "CORP", "CVRD", "HYLD",
                                      "MUNI", "PFND", "SOVR", "SUPR"};

#define SECTOR_COUNT (sizeof(sectors) / sizeof(sectors[0]))
#define RUN_DIGITS 16u
#define OWN "bench/" /* below an issuer's prefix: what this workload writes */

void issuer_append_name(struct buf *out, uint32_t issuer) {
    if (issuer == 0) {
        buf_append(out, SLICE_LITERAL("MUNI-77"));
        return;
    }
    /* Numbers start at 100, so that none is MUNI-77 again. */
    buf_printf(out, "%s-%u", sectors[issuer % SECTOR_COUNT],
               (unsigned)(100u + issuer / SECTOR_COUNT));
}

void issuer_append_prefix(struct buf *out, uint32_t issuer) {
    buf_append(out, SLICE_LITERAL(ISSUER_PREFIX));
    issuer_append_name(out, issuer);
    buf_append_byte(out, '/');
}

void issuer_append_exposure_key(struct buf *out, uint32_t issuer) {
    issuer_append_prefix(out, issuer);
    buf_append(out, SLICE_LITERAL(OWN "exposure"));
}

void issuer_append_reservation_key(struct buf *out, uint32_t issuer, uint64_t run, uint64_t n) {
    issuer_append_prefix(out, issuer);
    buf_printf(out, OWN "reservation/R-%016" PRIx64 "-%" PRIu64, run, n);
}

static bool take_literal(struct slice *rest, struct slice literal) {
    if (!slice_has_prefix(*rest, literal)) return false;
    *rest = slice_make(rest->data + literal.len, rest->len - literal.len);
    return true;
}

static bool take_run(struct slice *rest, uint64_t *ret_run) {
    if (rest->len < RUN_DIGITS) return false;
    uint64_t run = 0;
    for (size_t i = 0; i < RUN_DIGITS; i++) {
        uint8_t c = rest->data[i];
        if (c >= '0' && c <= '9')
            run = run << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            run = run << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *ret_run = run;
    *rest = slice_make(rest->data + RUN_DIGITS, rest->len - RUN_DIGITS);
    return true;
}

static void parse_tail(struct slice tail, struct issuer_key *key) {
    if (!take_literal(&tail, SLICE_LITERAL(OWN))) return;
    key->own = true;
    if (slice_equal(tail, SLICE_LITERAL("exposure"))) {
        key->exposure = true;
        return;
    }
    int64_t n;
    if (!take_literal(&tail, SLICE_LITERAL("reservation/R-"))) return;
    if (!take_run(&tail, &key->run)) return;
    if (!take_literal(&tail, SLICE_LITERAL("-"))) return;
    if (issuer_parse_number(tail, &n) != STATUS_OK || n < 0) return;
    key->n = (uint64_t)n;
    key->reservation = true;
}

enum status issuer_parse_key(struct slice key, struct issuer_key *ret_key) {
    struct slice rest = key;
    if (!take_literal(&rest, SLICE_LITERAL(ISSUER_PREFIX))) return STATUS_INVALID;
    const uint8_t *slash = rest.len ? memchr(rest.data, '/', rest.len) : NULL;
    if (!slash || slash == rest.data) return STATUS_INVALID;
    struct issuer_key parsed = {0};
    size_t prefix_len = (size_t)(slash + 1 - key.data);
    parsed.issuer_prefix = slice_make(key.data, prefix_len);
    parse_tail(slice_make(key.data + prefix_len, key.len - prefix_len), &parsed);
    *ret_key = parsed;
    return STATUS_OK;
}

enum status issuer_parse_number(struct slice text, int64_t *ret_number) {
    size_t at = 0;
    bool negative = text.len > 0 && text.data[0] == '-';
    if (negative) at = 1;
    if (at == text.len) return STATUS_INVALID;
    int64_t number = 0;
    for (; at < text.len; at++) {
        if (text.data[at] < '0' || text.data[at] > '9') return STATUS_INVALID;
        int64_t digit = text.data[at] - '0';
        /* Built downwards when negative: INT64_MIN has no positive counterpart. */
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, negative ? -digit : digit, &number))
            return STATUS_INVALID;
    }
    *ret_number = number;
    return STATUS_OK;
}

static int compare_prefixes(const void *a, const void *b) {
    return slice_compare(slice_from_buf(a), slice_from_buf(b));
}

enum status issuer_append_split_keys(struct buf *out, uint32_t issuers, uint32_t ranges) {
    if (ranges == 0 || issuers < ranges || issuers > BENCH_ISSUERS_MAX) return STATUS_INVALID;
    struct buf *prefixes = memory_zalloc(sizeof(*prefixes) * issuers);
    for (uint32_t i = 0; i < issuers; i++)
        issuer_append_prefix(&prefixes[i], i);
    qsort(prefixes, issuers, sizeof(*prefixes), compare_prefixes);
    for (uint32_t cut = 1; cut < ranges; cut++) {
        uint32_t at = (uint32_t)((uint64_t)cut * issuers / ranges);
        if (cut > 1) buf_append_byte(out, ',');
        buf_append(out, slice_from_buf(&prefixes[at]));
    }
    for (uint32_t i = 0; i < issuers; i++)
        buf_done(&prefixes[i]);
    memory_free(prefixes);
    return STATUS_OK;
}
