#include "txn/newest_cache.h"

#include "base/memory.h"

void txn_cache_clear(struct txn_cache *cache) {
    for (uint32_t i = 0; cache->slots && i < TXN_CACHE_SLOTS; i++)
        buf_done(&cache->slots[i].key);
}

void txn_cache_done(struct txn_cache *cache) {
    txn_cache_clear(cache);
    memory_free(cache->slots);
    *cache = (struct txn_cache){0};
}

static struct txn_cache_slot *slot_of(const struct txn_cache *cache, uint64_t hash) {
    return &cache->slots[hash & (TXN_CACHE_SLOTS - 1)];
}

static bool holds(const struct txn_cache_slot *slot, struct slice user_key) {
    return slot->key.len > 0 && slice_equal(slice_from_buf(&slot->key), user_key);
}

bool txn_cache_get(const struct txn_cache *cache, uint64_t hash, struct slice user_key,
                   struct mvcc_version *ret_version) {
    if (!cache->slots) return false;
    const struct txn_cache_slot *slot = slot_of(cache, hash);
    if (!holds(slot, user_key)) return false;
    *ret_version = (struct mvcc_version){.commit_ts = slot->commit_ts,
                                         .kind = MVCC_PUT,
                                         .value = slice_make(slot->value, slot->value_len)};
    return true;
}

static bool fits(struct slice user_key, const struct mvcc_version *version) {
    return version->kind == MVCC_PUT && version->value.len <= TXN_CACHE_VALUE_BYTES_MAX &&
           user_key.len <= TXN_CACHE_KEY_BYTES_MAX;
}

void txn_cache_update(struct txn_cache *cache, uint64_t hash, struct slice user_key,
                      const struct mvcc_version *version, bool wanted) {
    bool keep = wanted && fits(user_key, version);
    if (!cache->slots) {
        if (!keep) return;
        cache->slots = memory_zalloc(TXN_CACHE_SLOTS * sizeof(*cache->slots));
    }
    struct txn_cache_slot *slot = slot_of(cache, hash);
    bool known = holds(slot, user_key);
    if (!keep) {
        if (known) buf_clear(&slot->key);
        return;
    }
    if (!known) buf_assign(&slot->key, user_key);
    slot->commit_ts = version->commit_ts;
    slot->value_len = (uint8_t)version->value.len;
    if (version->value.len > 0) memcpy(slot->value, version->value.data, version->value.len);
}
