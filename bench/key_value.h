/* put, get, mixed and scan: single keys of a numbered set, values that say what they are.
 *
 *   key     kv/<number, 9 digits>
 *   value   <number> <sequence of the write> padded with dots, or cut, to the asked length
 *
 * A read checks that the value belongs to its key, a scan (which starts at a key) that of each row.
 * A key that was written with success must be there for ever after: reads during the run and the
 * scan at its end check that too. */
#ifndef FLOTILLA_BENCH_KEY_VALUE_H
#define FLOTILLA_BENCH_KEY_VALUE_H

#include "bench/load.h"
#include "bench/zipf.h"

enum key_distribution { KEYS_UNIFORM, KEYS_ZIPF, KEYS_SEQUENTIAL };

#define KEY_VALUE_PREFIX "kv/"
/* Shorter values have no room for what they say. */
#define KEY_VALUE_BYTES_MIN 16u

struct key_value_config {
    uint32_t keys;
    uint32_t value_bytes;
    uint32_t value_bytes_most; /* sizes are drawn from value_bytes to this; 0: all are equal */
    enum key_distribution distribution;
    double zipf_exponent;  /* ZIPF */
    uint32_t read_percent; /* 0: put, 100: get */
    uint32_t scan_rows;    /* a read fetches so many rows from its key on; 0: its key alone */
    bool request_ids;      /* writes carry a request id */
    bool stale_reads;      /* they need not show what was acknowledged, only what was written */
    uint64_t seed, run;
};

struct key_value {
    struct key_value_config config;
    struct prng prng;
    struct zipf zipf;
    uint64_t scatter_factor;
    uint64_t preload_next, sequence;
    bool preloading;
    uint8_t *written; /* a bit per key: some put of it was acknowledged */
    uint64_t misses;  /* reads of keys that nobody is known to have written */
    /* The attempt that is being described. */
    struct buf key, value, request_id;
    struct slice key_slice;
    struct txn_op write;
    struct txn_command command;
};

/* The object must not move afterwards: requests point into it. */
void key_value_init(struct key_value *workload, const struct key_value_config *config);
void key_value_done(struct key_value *workload);
/* The run itself, or (preload) one put of every key in order. */
struct bench_workload key_value_workload(struct key_value *workload);
struct bench_workload key_value_preload(struct key_value *workload);

/* Appends cuts that spread the keys evenly over the ranges. INVALID: fewer keys than ranges. */
enum status key_value_append_split_keys(struct buf *out, uint32_t keys, uint32_t ranges) MUST_CHECK;

/* The scan at the end: rows in ascending order; counts keys that were written and are missing, and
 * rows whose value is not their own. */
struct key_value_check {
    uint64_t present, lost, malformed;
    uint64_t next; /* key number from which nothing has been seen */
};
void key_value_check_row(struct key_value *workload, struct key_value_check *check,
                         struct slice key, struct slice value);
void key_value_check_finish(struct key_value *workload, struct key_value_check *check);

#endif
