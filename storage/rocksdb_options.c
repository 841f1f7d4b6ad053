/* How RocksDB is set up. Figures behind the choices are in storage/README.md. */

#include "base/descriptors.h"
#include "storage/mvcc.h"
#include "storage/rocksdb_internal.h"

#define MIB (1ull << 20)
#define BLOCK_CACHE_BYTES_DEFAULT (64 * MIB)
#define WRITE_BUFFER_BYTES_DEFAULT (32 * MIB)
#define TABLE_BYTES_MAX (32 * MIB)
#define TABLE_BYTES_MIN MIB
#define BLOCK_BYTES 4096u
#define BLOOM_BITS_PER_KEY 10.0

/* A family fills several small memtables and flushes them as one table: searches in a small one
 * stay in the processor's cache, and the table is as large as before. As many again, and
 * two, may fill while the first are written out; then writers wait, which bounds the memory. */
#define MEMTABLES_PER_FLUSH 4
_Static_assert(ROCKSDB_MEMTABLES_MAX == 2 * MEMTABLES_PER_FLUSH + 2, "see above");

/* Compactions may fall behind for a while before writers are slowed down: a stall of the Raft log
 * stalls every range of the node. */
#define L0_COMPACTION_TRIGGER 4
#define L0_STOP_TRIGGER 64

/* RocksDB's names for its enumerators do not reach C. */
#define WAL_RECOVERY_ABSOLUTE 1
#define WAL_RECOVERY_POINT_IN_TIME 2
#define INFO_LOG_WARN 2

const char *rocksdb_engine_family_name(unsigned family) {
    return family == ROCKSDB_OWN_FAMILY ? "default"
                                        : storage_family_name((enum storage_family)family);
}

/* ---- the prefix of a data key: everything but its version ---- */

static char *version_prefix(void *state, const char *key, size_t len, size_t *ret_len) {
    *ret_len = len - MVCC_VERSION_BYTES;
    return (char *)key;
}

static unsigned char has_version(void *state, const char *key, size_t len) {
    return len >= MVCC_VERSION_BYTES;
}

static unsigned char is_any_prefix(void *state, const char *prefix, size_t len) {
    return 1;
}

/* On disk: a file's prefix filter is used only under the name that it was built with. */
static const char *version_prefix_name(void *state) {
    return "flotilla.all-but-8";
}

static void nothing_to_free(void *state) {}

/* ---- families ---- */

/* Few shards: RocksDB's own choice of 1 MiB each is smaller than the filter of one large table,
 * which is then read from the file again for every lookup. */
static rocksdb_cache_t *make_block_cache(uint64_t bytes) {
    rocksdb_lru_cache_options_t *options = rocksdb_lru_cache_options_create();
    rocksdb_lru_cache_options_set_capacity(options, bytes);
    rocksdb_lru_cache_options_set_num_shard_bits(options, bytes < 32 * MIB ? 0 : 2);
    rocksdb_cache_t *cache = rocksdb_cache_create_lru_opts(options);
    rocksdb_lru_cache_options_destroy(options);
    return cache;
}

static rocksdb_block_based_table_options_t *make_table_options(rocksdb_cache_t *cache) {
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_block_based_options_set_block_size(table, BLOCK_BYTES);
    rocksdb_block_based_options_set_format_version(table, 5);
    /* Filters and indexes live in the block cache, so that memory is bounded by one number. */
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
    return table;
}

static void set_table(rocksdb_options_t *options, rocksdb_cache_t *cache, bool bloom,
                      bool whole_key) {
    rocksdb_block_based_table_options_t *table = make_table_options(cache);
    if (bloom)
        rocksdb_block_based_options_set_filter_policy(
            table, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS_PER_KEY));
    rocksdb_block_based_options_set_whole_key_filtering(table, whole_key);
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
}

/* A compaction takes the room of about a dozen tables until it is done: small write buffers, as for
 * a small disk, make small tables. */
static uint64_t table_bytes(uint64_t all_buffer_bytes) {
    if (all_buffer_bytes > TABLE_BYTES_MAX) return TABLE_BYTES_MAX;
    return all_buffer_bytes < TABLE_BYTES_MIN ? TABLE_BYTES_MIN : all_buffer_bytes;
}

/* What all families share. `buffer_bytes` is what one flush writes. */
static rocksdb_options_t *make_family(uint64_t buffer_bytes, uint64_t all_buffer_bytes) {
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_write_buffer_size(options, buffer_bytes / MEMTABLES_PER_FLUSH);
    rocksdb_options_set_min_write_buffer_number_to_merge(options, MEMTABLES_PER_FLUSH);
    rocksdb_options_set_max_write_buffer_number(options, ROCKSDB_MEMTABLES_MAX);
    rocksdb_options_set_level0_file_num_compaction_trigger(options, L0_COMPACTION_TRIGGER);
    rocksdb_options_set_level0_slowdown_writes_trigger(options, ROCKSDB_L0_SLOWDOWN_TRIGGER);
    rocksdb_options_set_level0_stop_writes_trigger(options, L0_STOP_TRIGGER);
    rocksdb_options_set_target_file_size_base(options, table_bytes(all_buffer_bytes));
    rocksdb_options_set_max_bytes_for_level_base(options, 4 * buffer_bytes);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    return options;
}

static void make_families(struct rocksdb_engine *engine, uint64_t buffer_bytes) {
    rocksdb_cache_t *cache = engine->block_cache;

    /* Entries are written in order and deleted soon after: mostly they live and die in the
     * memtable. Reads go to recent indexes; nothing is worth a filter or compressing. */
    rocksdb_options_t *raft = make_family(buffer_bytes / 2, buffer_bytes);
    rocksdb_options_set_level0_file_num_compaction_trigger(raft, 2 * L0_COMPACTION_TRIGGER);
    set_table(raft, cache, false, false);
    engine->family_options[STORAGE_RAFT] = raft;

    /* A point read seeks the newest version; the filters are over the key without its version. */
    rocksdb_options_t *data = make_family(buffer_bytes / 2, buffer_bytes);
    rocksdb_options_set_prefix_extractor(
        data, rocksdb_slicetransform_create(NULL, nothing_to_free, version_prefix, has_version,
                                            is_any_prefix, version_prefix_name));
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(data, 0.1);
    rocksdb_options_set_compression(data, rocksdb_lz4_compression);
    set_table(data, cache, true, false);
    engine->family_options[STORAGE_DATA] = data;

    /* Point reads that mostly find nothing: a lock that is not there, a request never seen before.
     */
    for (unsigned family = STORAGE_LOCK; family <= STORAGE_META; family++) {
        rocksdb_options_t *options = make_family(buffer_bytes / 4, buffer_bytes);
        rocksdb_options_set_memtable_prefix_bloom_size_ratio(options, 0.1);
        rocksdb_options_set_memtable_whole_key_filtering(options, 1);
        set_table(options, cache, true, true);
        engine->family_options[family] = options;
    }

    rocksdb_options_t *own = make_family(MIB, buffer_bytes);
    set_table(own, cache, false, false);
    engine->family_options[ROCKSDB_OWN_FAMILY] = own;
}

static void set_database_options(rocksdb_options_t *options, uint64_t buffer_bytes) {
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_create_missing_column_families(options, 1);
    rocksdb_options_set_paranoid_checks(options, 1);
    /* One flush and one compaction at a time: the machines are small, and the workers come first.
     */
    rocksdb_options_set_max_background_jobs(options, 2);
    /* A family that is seldom written must not keep old log files alive for ever. */
    rocksdb_options_set_max_total_wal_size(options, 2 * buffer_bytes);
    /* Written steadily, so that no sync has to carry out seconds of work at once. */
    rocksdb_options_set_bytes_per_sync(options, MIB);
    rocksdb_options_set_wal_bytes_per_sync(options, MIB / 2);
    rocksdb_options_set_max_open_files(options, (int)descriptors_for_engine());
    rocksdb_options_set_skip_stats_update_on_db_open(options, 1);
    rocksdb_options_set_max_manifest_file_size(options, 64 * MIB);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_stats_persist_period_sec(options, 0);
    rocksdb_options_set_keep_log_file_num(options, 4);
    rocksdb_options_set_max_log_file_size(options, 8 * MIB);
    rocksdb_options_set_info_log_level(options, INFO_LOG_WARN);
}

void rocksdb_engine_set_strict_recovery(struct rocksdb_engine *engine, bool strict) {
    rocksdb_options_set_wal_recovery_mode(engine->options, strict ? WAL_RECOVERY_ABSOLUTE
                                                                  : WAL_RECOVERY_POINT_IN_TIME);
}

void rocksdb_engine_make_options(struct rocksdb_engine *engine,
                                 const struct rocksdb_engine_config *config) {
    uint64_t buffer_bytes =
        config->write_buffer_bytes ? config->write_buffer_bytes : WRITE_BUFFER_BYTES_DEFAULT;
    engine->block_cache = make_block_cache(config->block_cache_bytes ? config->block_cache_bytes
                                                                     : BLOCK_CACHE_BYTES_DEFAULT);
    engine->options = rocksdb_options_create();
    set_database_options(engine->options, buffer_bytes);
    make_families(engine, buffer_bytes);

    engine->buffered = rocksdb_writeoptions_create();
    engine->synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(engine->synced, 1);
    engine->read_latest = rocksdb_readoptions_create();
    engine->version_latest = rocksdb_readoptions_create();
    rocksdb_readoptions_set_prefix_same_as_start(engine->version_latest, 1);
}

void rocksdb_engine_free_options(struct rocksdb_engine *engine) {
    rocksdb_readoptions_destroy(engine->version_latest);
    rocksdb_readoptions_destroy(engine->read_latest);
    rocksdb_writeoptions_destroy(engine->synced);
    rocksdb_writeoptions_destroy(engine->buffered);
    for (unsigned family = 0; family < ROCKSDB_FAMILY_COUNT; family++)
        rocksdb_options_destroy(engine->family_options[family]);
    rocksdb_options_destroy(engine->options);
    rocksdb_cache_destroy(engine->block_cache);
}
