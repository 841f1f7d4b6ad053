/* The file is text, for a person and for other tools:
 *
 *   flotilla-ledger 1 <run, 16 hex digits> <limit> <entries>
 *   <n> <issuer number> <amount> <state>
 *   ... */
#include "bench/ledger.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/memory.h"
#include "bench/limits.h"

static const char *const state_names[LEDGER_STATE_COUNT] = {"pending", "acked", "refused",
                                                            "not-done", "unknown"};

_Static_assert(sizeof(struct ledger_entry) == 12, "the ledger's memory bound counts on this");

void ledger_init(struct ledger *ledger, uint64_t run, int64_t limit) {
    *ledger = (struct ledger){.run = run, .limit = limit, .hottest_limit = limit};
}

void ledger_done(struct ledger *ledger) {
    memory_free(ledger->entries);
    *ledger = (struct ledger){0};
}

uint64_t ledger_add(struct ledger *ledger, uint32_t issuer, uint32_t amount) {
    ASSERT_CMP(ledger->count, <, BENCH_LEDGER_ENTRIES_MAX);
    if (ledger->count == ledger->cap) {
        ledger->cap = ledger->cap ? ledger->cap * 2 : 1024;
        ledger->entries =
            memory_realloc(ledger->entries, ledger->cap * sizeof(struct ledger_entry));
    }
    ledger->entries[ledger->count] =
        (struct ledger_entry){.issuer = issuer, .amount = amount, .state = LEDGER_PENDING};
    ledger->state_counts[LEDGER_PENDING]++;
    return ledger->count++;
}

void ledger_decide(struct ledger *ledger, uint64_t n, enum ledger_state state) {
    ASSERT_CMP(n, <, ledger->count);
    ASSERT_CMP(ledger->entries[n].state, ==, LEDGER_PENDING);
    ASSERT(state > LEDGER_PENDING && state < LEDGER_STATE_COUNT);
    ledger->entries[n].state = (uint8_t)state;
    ledger->state_counts[LEDGER_PENDING]--;
    ledger->state_counts[state]++;
}

const char *ledger_state_name(enum ledger_state state) {
    ASSERT(state < LEDGER_STATE_COUNT);
    return state_names[state];
}

static enum status file_error(struct buf *error, const char *doing, const char *path) {
    enum status status = errno == ENOSPC ? STATUS_NO_SPACE : STATUS_IO;
    buf_printf(error, "cannot %s the ledger %s: %s", doing, path, strerror(errno));
    return status;
}

enum status ledger_save(const struct ledger *ledger, const char *path, struct buf *error) {
    enum status status = STATUS_OK;
    struct buf temporary = {0};
    buf_printf(&temporary, "%s.tmp", path);
    buf_append_byte(&temporary, 0);
    const char *temporary_path = (const char *)temporary.data;
    FILE *file = fopen(temporary_path, "we");
    if (!file) {
        status = file_error(error, "create", temporary_path);
        goto out;
    }
    fprintf(file, "flotilla-ledger 1 %016" PRIx64 " %" PRId64 " %zu\n", ledger->run, ledger->limit,
            ledger->count);
    for (size_t n = 0; n < ledger->count; n++) {
        const struct ledger_entry *entry = &ledger->entries[n];
        fprintf(file, "%zu %" PRIu32 " %" PRIu32 " %s\n", n, entry->issuer, entry->amount,
                state_names[entry->state]);
    }
    /* Every fprintf's failure sticks in the stream; closing reports the last buffer's. */
    bool written = !ferror(file) && fflush(file) == 0 && fsync(fileno(file)) == 0;
    if (!written) status = file_error(error, "write", temporary_path);
    if (fclose(file) != 0 && written) status = file_error(error, "write", temporary_path);
    if (status == STATUS_OK && rename(temporary_path, path) != 0)
        status = file_error(error, "replace", path);
    if (status != STATUS_OK) (void)unlink(temporary_path); /* it is of no use to anyone */
out:
    buf_done(&temporary);
    return status;
}

static bool parse_state(const char *text, enum ledger_state *ret_state) {
    for (unsigned i = 0; i < LEDGER_STATE_COUNT; i++) {
        if (strcmp(text, state_names[i]) == 0) {
            *ret_state = (enum ledger_state)i;
            return true;
        }
    }
    return false;
}

static enum status read_entries(struct ledger *ledger, FILE *file, size_t count, const char *path,
                                struct buf *error) {
    char line[128], state_text[16];
    for (size_t n = 0; n < count; n++) {
        size_t written_n;
        uint32_t issuer, amount;
        enum ledger_state state;
        if (!fgets(line, sizeof(line), file) ||
            sscanf(line, "%zu %" SCNu32 " %" SCNu32 " %15s", &written_n, &issuer, &amount,
                   state_text) != 4 ||
            written_n != n || !parse_state(state_text, &state)) {
            buf_printf(error, "%s: line %zu is not entry %zu of a ledger; was the file cut?", path,
                       n + 2, n);
            return STATUS_CORRUPTION;
        }
        (void)ledger_add(ledger, issuer, amount); /* it is n: just checked */
        if (state != LEDGER_PENDING) ledger_decide(ledger, n, state);
    }
    return STATUS_OK;
}

enum status ledger_load(struct ledger *ledger, const char *path, struct buf *error) {
    ASSERT_CMP(ledger->count, ==, 0);
    FILE *file = fopen(path, "re");
    if (!file) return file_error(error, "open", path);
    enum status status = STATUS_OK;
    char line[128];
    size_t count;
    if (!fgets(line, sizeof(line), file) ||
        sscanf(line, "flotilla-ledger 1 %" SCNx64 " %" SCNd64 " %zu", &ledger->run, &ledger->limit,
               &count) != 3 ||
        count > BENCH_LEDGER_ENTRIES_MAX) {
        buf_printf(error, "%s: line 1 is not the header of a ledger (flotilla-ledger 1 ...)", path);
        status = STATUS_CORRUPTION;
    } else {
        ledger->hottest_limit = ledger->limit;
        status = read_entries(ledger, file, count, path, error);
    }
    (void)fclose(file); /* only read from */
    return status;
}
