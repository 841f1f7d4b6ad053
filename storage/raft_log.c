#include "storage/raft_log.h"

#include "base/assert.h"
#include "base/codec.h"

#define LOG_PREFIX 'l'
#define STATE_PREFIX 's'

/* More deletions than this at once are cheaper as one range tombstone, although later reads have to
 * look at it. */
#define POINT_DELETES_MAX 1024u

struct log_key {
    uint8_t bytes[1 + 8 + 8];
};

struct state_key {
    uint8_t bytes[1 + 8 + 1];
};

static void put_u64_be(uint8_t out[8], uint64_t value) {
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> (56 - 8 * i));
}

static uint64_t get_u64_be(const uint8_t in[8]) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | in[i];
    return value;
}

static struct log_key log_key_make(const struct raft_log *log, uint64_t index) {
    struct log_key key;
    key.bytes[0] = LOG_PREFIX;
    put_u64_be(key.bytes + 1, log->group);
    put_u64_be(key.bytes + 9, index);
    return key;
}

static struct slice log_key_slice(const struct log_key *key) {
    return slice_make(key->bytes, sizeof(key->bytes));
}

static struct state_key state_key_make(const struct raft_log *log, enum raft_log_state state) {
    struct state_key key;
    key.bytes[0] = STATE_PREFIX;
    put_u64_be(key.bytes + 1, log->group);
    key.bytes[9] = (uint8_t)state;
    return key;
}

static struct slice state_key_slice(const struct state_key *key) {
    return slice_make(key->bytes, sizeof(key->bytes));
}

static enum status read_truncation(struct raft_log *log, uint64_t *ret_index) {
    struct buf bytes = {0};
    enum status status = raft_log_get_state(log, RAFT_LOG_TRUNCATION, &bytes);
    if (status == STATUS_NOT_FOUND) {
        *ret_index = 0;
        status = STATUS_OK;
    } else if (status == STATUS_OK) {
        struct decoder decoder = decoder_make(slice_from_buf(&bytes));
        *ret_index = decode_u64(&decoder);
        if (!decoder_finished(&decoder) || *ret_index >= UINT64_MAX - 1) status = STATUS_CORRUPTION;
    }
    buf_done(&bytes);
    return status;
}

static void write_truncation(const struct raft_log *log, struct storage_batch *batch) {
    struct buf bytes = {0};
    encode_u64(&bytes, log->first_index - 1);
    struct state_key key = state_key_make(log, RAFT_LOG_TRUNCATION);
    storage_batch_put(batch, STORAGE_RAFT, state_key_slice(&key), slice_from_buf(&bytes));
    buf_done(&bytes);
}

/* The index of the entry that the iterator stands on; 0 when it stands on none. */
static enum status index_at(const struct storage_iterator *iterator, uint64_t *ret_index) {
    *ret_index = 0;
    if (!storage_iterator_valid(iterator)) return storage_iterator_status(iterator);
    struct slice key = storage_iterator_key(iterator);
    if (key.len != sizeof(struct log_key)) return STATUS_CORRUPTION;
    *ret_index = get_u64_be(key.data + 9);
    return STATUS_OK;
}

enum status raft_log_open(struct raft_log *log, struct storage_engine *engine, uint64_t group) {
    struct raft_log opened = {.engine = engine, .group = group};
    uint64_t truncated = 0, first = 0, last = 0;
    enum status status = read_truncation(&opened, &truncated);
    if (status != STATUS_OK) return status;
    /* The largest index, being a bound only, is never used for an entry. */
    struct log_key lower = log_key_make(&opened, truncated + 1);
    struct log_key upper = log_key_make(&opened, UINT64_MAX);
    struct storage_iterator *iterator = storage_iterator_new(
        engine, NULL, STORAGE_RAFT, log_key_slice(&lower), log_key_slice(&upper));
    storage_iterator_seek_first(iterator);
    status = index_at(iterator, &first);
    if (status == STATUS_OK && first != 0) {
        storage_iterator_seek_last(iterator);
        status = index_at(iterator, &last);
        if (status == STATUS_OK && first != truncated + 1) status = STATUS_CORRUPTION;
    }
    storage_iterator_free(iterator);
    if (status != STATUS_OK) return status;
    opened.first_index = truncated + 1;
    opened.last_index = last == 0 ? truncated : last;
    *log = opened;
    return STATUS_OK;
}

/* Deletes the entries first .. last; none when first > last. */
static void delete_entries(const struct raft_log *log, struct storage_batch *batch, uint64_t first,
                           uint64_t last) {
    if (first > last) return;
    if (last - first >= POINT_DELETES_MAX) {
        struct log_key begin = log_key_make(log, first), end = log_key_make(log, last + 1);
        storage_batch_delete_range(batch, STORAGE_RAFT, log_key_slice(&begin), log_key_slice(&end));
        return;
    }
    for (uint64_t index = first; index <= last; index++) {
        struct log_key key = log_key_make(log, index);
        storage_batch_delete(batch, STORAGE_RAFT, log_key_slice(&key));
    }
}

void raft_log_append(struct raft_log *log, struct storage_batch *batch, uint64_t index,
                     struct slice entry) {
    ASSERT_CMP(index, >=, log->first_index);
    ASSERT_CMP(index, <=, log->last_index + 1);
    ASSERT_CMP(index, <, UINT64_MAX);
    delete_entries(log, batch, index + 1, log->last_index);
    struct log_key key = log_key_make(log, index);
    storage_batch_put(batch, STORAGE_RAFT, log_key_slice(&key), entry);
    log->last_index = index;
}

uint64_t raft_log_compact(struct raft_log *log, struct storage_batch *batch, uint64_t index,
                          uint32_t limit) {
    ASSERT_CMP(index, <=, log->last_index);
    if (index < log->first_index || limit == 0) return log->first_index - 1;
    uint64_t count = index - log->first_index + 1;
    if (count > limit) count = limit;
    for (uint64_t i = 0; i < count; i++) {
        struct log_key key = log_key_make(log, log->first_index + i);
        storage_batch_delete(batch, STORAGE_RAFT, log_key_slice(&key));
    }
    log->first_index += count;
    write_truncation(log, batch);
    return log->first_index - 1;
}

void raft_log_reset(struct raft_log *log, struct storage_batch *batch, uint64_t index) {
    ASSERT_CMP(index, <, UINT64_MAX - 1);
    delete_entries(log, batch, log->first_index, log->last_index);
    log->first_index = index + 1;
    log->last_index = index;
    write_truncation(log, batch);
}

void raft_log_destroy(struct raft_log *log, struct storage_batch *batch) {
    static const enum raft_log_state states[] = {RAFT_LOG_HARD_STATE, RAFT_LOG_APPLY_STATE,
                                                 RAFT_LOG_TRUNCATION};
    delete_entries(log, batch, log->first_index, log->last_index);
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        struct state_key key = state_key_make(log, states[i]);
        storage_batch_delete(batch, STORAGE_RAFT, state_key_slice(&key));
    }
    log->first_index = 1;
    log->last_index = 0;
}

static enum status check_position(const struct raft_log *log, uint64_t index) {
    if (index < log->first_index) return STATUS_COMPACTED;
    return index > log->last_index ? STATUS_NOT_FOUND : STATUS_OK;
}

enum status raft_log_get(const struct raft_log *log, uint64_t index, struct buf *ret_entry) {
    enum status status = check_position(log, index);
    if (status != STATUS_OK) return status;
    struct log_key key = log_key_make(log, index);
    status = storage_get(log->engine, NULL, STORAGE_RAFT, log_key_slice(&key), ret_entry);
    return status == STATUS_NOT_FOUND ? STATUS_CORRUPTION : status;
}

enum status raft_log_read(const struct raft_log *log, uint64_t first, uint64_t last,
                          raft_log_entry_fn *entry, void *ctx) {
    if (first > last) return STATUS_OK;
    enum status status = check_position(log, first);
    if (status == STATUS_OK) status = check_position(log, last);
    if (status != STATUS_OK) return status;
    struct log_key lower = log_key_make(log, first), upper = log_key_make(log, last + 1);
    struct storage_iterator *iterator = storage_iterator_new(
        log->engine, NULL, STORAGE_RAFT, log_key_slice(&lower), log_key_slice(&upper));
    for (uint64_t expected = first; expected <= last; expected++) {
        uint64_t index = 0;
        if (expected == first)
            storage_iterator_seek_first(iterator);
        else
            storage_iterator_next(iterator);
        status = index_at(iterator, &index);
        if (status == STATUS_OK && index != expected) status = STATUS_CORRUPTION;
        if (status != STATUS_OK) break;
        if (!entry(ctx, index, storage_iterator_value(iterator))) break;
    }
    storage_iterator_free(iterator);
    return status;
}

void raft_log_put_state(const struct raft_log *log, struct storage_batch *batch,
                        enum raft_log_state state, struct slice bytes) {
    ASSERT(state == RAFT_LOG_HARD_STATE || state == RAFT_LOG_APPLY_STATE);
    struct state_key key = state_key_make(log, state);
    storage_batch_put(batch, STORAGE_RAFT, state_key_slice(&key), bytes);
}

enum status raft_log_get_state(const struct raft_log *log, enum raft_log_state state,
                               struct buf *ret_bytes) {
    struct state_key key = state_key_make(log, state);
    return storage_get(log->engine, NULL, STORAGE_RAFT, state_key_slice(&key), ret_bytes);
}
