#include "bench/key_value.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/memory.h"
#include "bench/limits.h"

#define KEY_DIGITS 9
#define KEY_VALUE_END "kv0" /* the first key after all that begin with KEY_VALUE_PREFIX */

_Static_assert(BENCH_KEYS_MAX <= 1000000000u, "key numbers have nine digits");

static uint64_t greatest_common_divisor(uint64_t a, uint64_t b) {
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Popular keys must not be neighbours, or one range would have them all. Multiplying a rank by a
 * number near the golden section of the count, and coprime to it, is a permutation that keeps
 * neighbours apart. */
static uint64_t scatter_factor(uint64_t count) {
    uint64_t factor = (uint64_t)((double)count * 0.6180339887);
    if (factor == 0) factor = 1;
    while (greatest_common_divisor(factor, count) != 1)
        factor++;
    return factor;
}

void key_value_init(struct key_value *workload, const struct key_value_config *config) {
    ASSERT_CMP(config->keys, >, 0);
    ASSERT_CMP(config->keys, <=, BENCH_KEYS_MAX);
    ASSERT_CMP(config->value_bytes, >=, KEY_VALUE_BYTES_MIN);
    ASSERT_CMP(config->read_percent, <=, 100);
    *workload = (struct key_value){.config = *config};
    prng_init(&workload->prng, config->seed);
    zipf_init(&workload->zipf, config->keys, config->zipf_exponent);
    workload->scatter_factor = scatter_factor(config->keys);
    workload->written = memory_zalloc(config->keys / 8 + 1);
}

void key_value_done(struct key_value *workload) {
    memory_free(workload->written);
    buf_done(&workload->key);
    buf_done(&workload->value);
    buf_done(&workload->request_id);
}

static bool is_written(const struct key_value *workload, uint64_t number) {
    return workload->written[number / 8] >> (number % 8) & 1;
}

static void mark_written(struct key_value *workload, uint64_t number) {
    workload->written[number / 8] |= (uint8_t)(1u << (number % 8));
}

static uint64_t choose_key(struct key_value *workload) {
    uint64_t keys = workload->config.keys;
    switch (workload->config.distribution) {
    case KEYS_UNIFORM:
        return prng_below(&workload->prng, keys);
    case KEYS_ZIPF:
        return (uint64_t)((unsigned __int128)zipf_next(&workload->zipf, &workload->prng) *
                          workload->scatter_factor % keys);
    case KEYS_SEQUENTIAL:
        return workload->sequence % keys;
    }
    return 0;
}

static bool next(void *ctx, struct bench_op *op) {
    struct key_value *workload = ctx;
    if (workload->preloading) {
        if (workload->preload_next == workload->config.keys) return false;
        op->subject = workload->preload_next++;
    } else {
        op->subject = choose_key(workload);
        op->read = prng_below(&workload->prng, 100) < workload->config.read_percent;
    }
    op->entry = workload->sequence++;
    return true;
}

static void append_key(struct buf *out, uint64_t number) {
    buf_printf(out, KEY_VALUE_PREFIX "%0*" PRIu64, KEY_DIGITS, number);
}

/* Short values have room for the last digits of the sequence only. */
static void append_value(struct buf *out, uint64_t number, uint64_t sequence, uint32_t bytes) {
    buf_printf(out, "%0*" PRIu64 " ", KEY_DIGITS, number);
    size_t sequence_at = out->len;
    buf_printf(out, "%" PRIu64 " ", sequence);
    size_t surplus = out->len > bytes ? out->len - bytes : 0;
    ASSERT_CMP(sequence_at + surplus, <, out->len);
    memmove(out->data + sequence_at, out->data + sequence_at + surplus,
            out->len - sequence_at - surplus);
    out->len -= surplus;
    buf_reserve(out, bytes - out->len);
    memset(out->data + out->len, '.', bytes - out->len);
    out->len = bytes;
}

/* The same at every attempt of an operation. */
static uint32_t value_bytes(const struct key_value_config *config, const struct bench_op *op) {
    if (config->value_bytes_most <= config->value_bytes) return config->value_bytes;
    uint64_t scattered = op->entry * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    return config->value_bytes +
           (uint32_t)(scattered % (config->value_bytes_most - config->value_bytes + 1));
}

/* The value begins with its key's digits. */
static bool value_belongs(struct slice key_digits, struct slice value) {
    return value.len > KEY_DIGITS && value.data[KEY_DIGITS] == ' ' &&
           slice_has_prefix(value, key_digits);
}

static void request(void *ctx, const struct bench_op *op, struct router_request *ret_request) {
    struct key_value *workload = ctx;
    buf_clear(&workload->key);
    append_key(&workload->key, op->subject);
    workload->key_slice = slice_from_buf(&workload->key);
    if (op->read && workload->config.stale_reads) ret_request->read_mode = RANGE_READ_STALE;
    if (op->read && workload->config.scan_rows > 0) {
        ret_request->op = ROUTER_SCAN;
        ret_request->start = workload->key_slice;
        ret_request->end = SLICE_LITERAL(KEY_VALUE_END);
        ret_request->row_limit = workload->config.scan_rows;
        return;
    }
    if (op->read) {
        ret_request->op = ROUTER_GET;
        ret_request->key_count = 1;
        ret_request->keys = &workload->key_slice;
        return;
    }
    buf_clear(&workload->value);
    append_value(&workload->value, op->subject, op->entry, value_bytes(&workload->config, op));
    buf_clear(&workload->request_id);
    if (workload->config.request_ids)
        buf_printf(&workload->request_id, "%016" PRIx64 "-%" PRIu64, workload->config.run,
                   op->entry);
    workload->write = (struct txn_op){
        .kind = TXN_OP_PUT, .key = workload->key_slice, .value = slice_from_buf(&workload->value)};
    workload->command = (struct txn_command){.request_id = slice_from_buf(&workload->request_id),
                                             .op_count = 1,
                                             .ops = &workload->write};
    ret_request->op = ROUTER_WRITE;
    ret_request->command = &workload->command;
}

static bool judge_read(struct key_value *workload, const struct bench_op *op,
                       const struct router_reply *reply, struct buf *error) {
    if (reply->row_count != 1) {
        buf_printf(error, "a read of one key was answered with %u rows", reply->row_count);
        return false;
    }
    const struct range_row *row = &reply->rows[0];
    if (row->version == 0) {
        /* `written` may have been set after the read was sent, so only a key known then counts. */
        if (op->must_exist) {
            buf_printf(error, "key %" PRIu64 " was acknowledged and is not there", op->subject);
            return false;
        }
        workload->misses++;
        return true;
    }
    buf_clear(&workload->key);
    append_key(&workload->key, op->subject);
    struct slice digits = slice_make(workload->key.data + sizeof(KEY_VALUE_PREFIX) - 1, KEY_DIGITS);
    if (value_belongs(digits, row->value)) return true;
    buf_printf(error, "key %" PRIu64 " has a value that is not its own", op->subject);
    return false;
}

/* Rows ascend from the asked key on, and each has a value of its own. */
static bool judge_scan(struct key_value *workload, const struct bench_op *op,
                       const struct router_reply *reply, struct buf *error) {
    buf_clear(&workload->key);
    append_key(&workload->key, op->subject);
    struct slice start = slice_from_buf(&workload->key), previous = SLICE_EMPTY;
    if (reply->row_count > workload->config.scan_rows) {
        buf_printf(error, "a scan of at most %u rows was answered with %u",
                   workload->config.scan_rows, reply->row_count);
        return false;
    }
    if (op->must_exist && (reply->row_count == 0 || !slice_equal(reply->rows[0].key, start))) {
        buf_printf(error, "a scan does not begin with key %" PRIu64 ", which was acknowledged",
                   op->subject);
        return false;
    }
    for (uint32_t i = 0; i < reply->row_count; i++) {
        const struct range_row *row = &reply->rows[i];
        bool ordered = slice_compare(row->key, i == 0 ? start : previous) >= (i == 0 ? 0 : 1);
        bool shaped = row->key.len == start.len;
        struct slice digits = slice_make(row->key.data + start.len - KEY_DIGITS, KEY_DIGITS);
        if (!ordered || !shaped || !value_belongs(digits, row->value)) {
            buf_printf(error,
                       "row %u of a scan from key %" PRIu64 " is out of order or not its own", i,
                       op->subject);
            return false;
        }
        previous = row->key;
    }
    return true;
}

static bool judge(void *ctx, const struct bench_op *op, const struct router_reply *reply,
                  enum bench_outcome *ret_outcome, struct buf *error) {
    struct key_value *workload = ctx;
    *ret_outcome = BENCH_DONE;
    if (op->read && workload->config.scan_rows > 0) return judge_scan(workload, op, reply, error);
    if (op->read) return judge_read(workload, op, reply, error);
    if (reply->outcome && reply->outcome->result == TXN_DONE) return true;
    buf_printf(error, "a put was refused: %s",
               reply->outcome ? txn_result_text(reply->outcome->result) : "no outcome");
    return false;
}

static void decided(void *ctx, const struct bench_op *op, enum bench_outcome outcome) {
    if (!op->read && outcome == BENCH_DONE) mark_written(ctx, op->subject);
}

static bool next_of_run(void *ctx, struct bench_op *op) {
    struct key_value *workload = ctx;
    workload->preloading = false;
    if (!next(ctx, op)) return false;
    op->must_exist = op->read && !workload->config.stale_reads && is_written(workload, op->subject);
    return true;
}

static bool next_of_preload(void *ctx, struct bench_op *op) {
    struct key_value *workload = ctx;
    workload->preloading = true;
    return next(ctx, op);
}

struct bench_workload key_value_workload(struct key_value *workload) {
    return (struct bench_workload){.ctx = workload,
                                   .next = next_of_run,
                                   .request = request,
                                   .judge = judge,
                                   .decided = decided};
}

struct bench_workload key_value_preload(struct key_value *workload) {
    struct bench_workload preload = key_value_workload(workload);
    preload.next = next_of_preload;
    return preload;
}

enum status key_value_append_split_keys(struct buf *out, uint32_t keys, uint32_t ranges) {
    if (ranges == 0 || keys < ranges || keys > BENCH_KEYS_MAX) return STATUS_INVALID;
    for (uint32_t cut = 1; cut < ranges; cut++) {
        if (cut > 1) buf_append_byte(out, ',');
        append_key(out, (uint64_t)cut * keys / ranges);
    }
    return STATUS_OK;
}

static void count_missing(struct key_value *workload, struct key_value_check *check,
                          uint64_t before) {
    for (; check->next < before; check->next++)
        if (is_written(workload, check->next)) check->lost++;
}

void key_value_check_row(struct key_value *workload, struct key_value_check *check,
                         struct slice key, struct slice value) {
    struct slice prefix = SLICE_LITERAL(KEY_VALUE_PREFIX);
    uint64_t number = 0;
    bool shaped = slice_has_prefix(key, prefix) && key.len == prefix.len + KEY_DIGITS;
    for (size_t i = prefix.len; shaped && i < key.len; i++) {
        shaped = key.data[i] >= '0' && key.data[i] <= '9';
        number = number * 10 + (uint64_t)(key.data[i] - '0');
    }
    struct slice digits = SLICE_EMPTY;
    if (shaped) digits = slice_make(key.data + prefix.len, KEY_DIGITS);
    if (!shaped || !value_belongs(digits, value)) {
        check->malformed++;
        return;
    }
    if (number >= workload->config.keys) return; /* of a run over more keys */
    if (number < check->next) {                  /* out of order: the scan itself is wrong */
        check->malformed++;
        return;
    }
    count_missing(workload, check, number);
    check->next = number + 1;
    check->present++;
}

void key_value_check_finish(struct key_value *workload, struct key_value_check *check) {
    count_missing(workload, check, workload->config.keys);
}
