#include "bench/verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "bench/limits.h"

void verify_begin(struct verifier *verifier, struct ledger *ledger) {
    *verifier = (struct verifier){.ledger = ledger};
    for (size_t n = 0; n < ledger->count; n++)
        ledger->entries[n].seen = false;
}

static void finding(struct verifier *verifier, uint64_t *counter, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void finding(struct verifier *verifier, uint64_t *counter, const char *format, ...) {
    (*counter)++;
    struct verdict *verdict = &verifier->verdict;
    if (verdict->detail_count >= BENCH_DETAILS_MAX) return;
    verdict->detail_count++;
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof(line), format, arguments); /* a cut line still says enough */
    va_end(arguments);
    buf_printf(&verdict->details, "%s\n", line);
}

/* Of the present issuer. */
static int64_t limit_of(struct verifier *verifier) {
    buf_clear(&verifier->scratch);
    issuer_append_prefix(&verifier->scratch, 0);
    bool is_hottest =
        slice_equal(slice_from_buf(&verifier->scratch), slice_from_buf(&verifier->prefix));
    return is_hottest ? verifier->ledger->hottest_limit : verifier->ledger->limit;
}

/* All rows of the present issuer have passed. */
static void close_issuer(struct verifier *verifier) {
    if (verifier->prefix.len == 0) return;
    struct verdict *verdict = &verifier->verdict;
    int prefix_len = (int)verifier->prefix.len;
    const char *prefix = (const char *)verifier->prefix.data;
    int64_t limit = limit_of(verifier);
    if (verifier->exposure < verifier->sum)
        finding(verifier, &verdict->lost,
                "lost: %.*sexposure is %" PRId64 ", its reservations sum to %" PRId64, prefix_len,
                prefix, verifier->exposure, verifier->sum);
    if (verifier->exposure > verifier->sum)
        finding(verifier, &verdict->doubled,
                "doubled: %.*sexposure is %" PRId64 ", its reservations sum to %" PRId64,
                prefix_len, prefix, verifier->exposure, verifier->sum);
    bool above = verifier->has_own && verifier->exposure > limit;
    if (above || verifier->exposure < 0)
        finding(verifier, &verdict->overbooked,
                "overbooked: %.*sexposure is %" PRId64 ", allowed is 0 to %" PRId64, prefix_len,
                prefix, verifier->exposure, limit);
    buf_clear(&verifier->prefix);
}

static void open_issuer(struct verifier *verifier, struct slice prefix) {
    if (slice_equal(slice_from_buf(&verifier->prefix), prefix)) return;
    close_issuer(verifier);
    buf_assign(&verifier->prefix, prefix);
    verifier->exposure = 0;
    verifier->sum = 0;
    verifier->has_own = false;
    verifier->verdict.issuers++;
}

/* A reservation that carries this run's mark. */
static void check_own(struct verifier *verifier, const struct issuer_key *key, int64_t amount) {
    struct verdict *verdict = &verifier->verdict;
    struct ledger *ledger = verifier->ledger;
    verdict->reservations++;
    if (key->n >= ledger->count) {
        finding(verifier, &verdict->doubled, "doubled: R-%" PRIu64 " is there but was never made",
                key->n);
        return;
    }
    struct ledger_entry *entry = &ledger->entries[key->n];
    buf_clear(&verifier->scratch);
    issuer_append_prefix(&verifier->scratch, entry->issuer);
    if (!slice_equal(key->issuer_prefix, slice_from_buf(&verifier->scratch))) {
        /* Its right place stays empty, so an acknowledged one is counted as lost at the end. */
        finding(verifier, &verdict->doubled, "doubled: R-%" PRIu64 " is there under %.*s", key->n,
                (int)key->issuer_prefix.len, (const char *)key->issuer_prefix.data);
        return;
    }
    entry->seen = true;
    if (entry->state == LEDGER_REFUSED || entry->state == LEDGER_NOT_DONE)
        finding(verifier, &verdict->doubled, "doubled: R-%" PRIu64 " is there but was %s", key->n,
                ledger_state_name(entry->state));
    else if (amount != entry->amount)
        finding(verifier, &verdict->lost,
                "lost: R-%" PRIu64 " has the amount %" PRId64 ", not %" PRIu32, key->n, amount,
                entry->amount);
    if (entry->state == LEDGER_UNKNOWN || entry->state == LEDGER_PENDING) verdict->unknown_there++;
}

void verify_row(struct verifier *verifier, struct slice key, struct slice value) {
    struct verdict *verdict = &verifier->verdict;
    /* A scan that gives a row twice or out of order would hide or invent reservations. */
    bool ascends = slice_compare(slice_from_buf(&verifier->last_key), key) < 0;
    buf_assign(&verifier->last_key, key);
    struct issuer_key parsed;
    int64_t number;
    bool is_own = issuer_parse_key(key, &parsed) == STATUS_OK && parsed.own;
    if (ascends && !is_own) {
        verdict->foreign++;
        return;
    }
    if (!ascends || (!parsed.exposure && !parsed.reservation) ||
        issuer_parse_number(value, &number) != STATUS_OK) {
        finding(verifier, &verdict->malformed, "malformed: %.*s = %.*s%s", (int)key.len,
                (const char *)key.data, (int)(value.len < 40 ? value.len : 40),
                (const char *)value.data, ascends ? "" : " (out of order)");
        return;
    }
    open_issuer(verifier, parsed.issuer_prefix);
    if (parsed.exposure) {
        verifier->exposure = number;
        return;
    }
    if (__builtin_add_overflow(verifier->sum, number, &verifier->sum))
        finding(verifier, &verdict->malformed, "malformed: the sum over %.*s overflows",
                (int)parsed.issuer_prefix.len, (const char *)parsed.issuer_prefix.data);
    if (parsed.run == verifier->ledger->run) {
        verifier->has_own = true;
        check_own(verifier, &parsed, number);
    } else {
        verdict->others++;
    }
}

void verify_finish(struct verifier *verifier) {
    close_issuer(verifier);
    struct ledger *ledger = verifier->ledger;
    for (size_t n = 0; n < ledger->count; n++) {
        const struct ledger_entry *entry = &ledger->entries[n];
        if (entry->state == LEDGER_ACKED && !entry->seen)
            finding(verifier, &verifier->verdict.lost,
                    "lost: R-%zu over %" PRIu32 " was acknowledged and is not there", n,
                    entry->amount);
    }
}

void verify_done(struct verifier *verifier) {
    buf_done(&verifier->prefix);
    buf_done(&verifier->scratch);
    buf_done(&verifier->last_key);
    buf_done(&verifier->verdict.details);
}

bool verdict_clean(const struct verdict *verdict) {
    return verdict->lost == 0 && verdict->doubled == 0 && verdict->overbooked == 0 &&
           verdict->malformed == 0;
}
