/* The newest versions of keys that are changed over and over, from round to round: an exposure that
 * every reservation adds to is read from the engine once, not once in every round. Folder-private.
 *
 * Invariant: what is in it equals what the engine would answer. It hears of every version that is
 * written through its overlay; whoever changes the engine otherwise clears it (txn_apply_forget).
 * So an answer never depends on what happens to be in it.
 *
 * A table of fixed size without chains: a key has one place, and the last to come has it. */
#ifndef FLOTILLA_TXN_NEWEST_CACHE_H
#define FLOTILLA_TXN_NEWEST_CACHE_H

#include "storage/mvcc.h"

#define TXN_CACHE_SLOTS 4096u /* a power of two */
#define TXN_CACHE_KEY_BYTES_MAX 256u
#define TXN_CACHE_VALUE_BYTES_MAX 64u

struct txn_cache_slot {
    struct buf key; /* empty: the slot is free */
    uint64_t commit_ts;
    uint8_t value_len;
    uint8_t value[TXN_CACHE_VALUE_BYTES_MAX];
};

struct txn_cache {
    struct txn_cache_slot *slots; /* NULL until something is put */
};

void txn_cache_done(struct txn_cache *cache);
void txn_cache_clear(struct txn_cache *cache);
/* `hash` is that of the key, from whoever has it already. False: not known here. The value is
 * borrowed until the cache changes. Never a deletion. */
bool txn_cache_get(const struct txn_cache *cache, uint64_t hash, struct slice user_key,
                   struct mvcc_version *ret_version);
/* The version is the newest of its key from now on. It comes in when `wanted` and it fits, else
 * what was known of the key goes. */
void txn_cache_update(struct txn_cache *cache, uint64_t hash, struct slice user_key,
                      const struct mvcc_version *version, bool wanted);

#endif
