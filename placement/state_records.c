/* The replicated state as records: in the engine, and strung together as a snapshot. Every value
 * begins with a format version (u8 = 1; a node's is 2).
 *
 *   small state  cluster id u64 ‖ replication factor, birth nodes, split key count varints ‖
 *                born u8 ‖ next node id, next range id varints ‖ timestamp bound u64 ‖
 *                address book version varint
 *   split keys   (varint length ‖ bytes)*
 *   node         node id varint ‖ uuid 16 bytes ‖ incarnation u64 ‖ address, version: varint length
 *                ‖ bytes ‖ synced sequence varint (version 1 has none: 0)
 *   range        confirmed varint ‖ descriptor (messages.c)
 *
 *   snapshot     version u8 = 1 ‖ (key, value: varint length ‖ bytes)* */
#include "base/assert.h"
#include "base/memory.h"
#include "placement/state.h"

#define RECORD_VERSION 1u
#define NODE_RECORD_VERSION 2u
#define RECORD_PREFIX SLICE_LITERAL("\0p")
#define RECORD_PREFIX_END SLICE_LITERAL("\0q")

enum record_kind {
    RECORD_SMALL = 's',
    RECORD_SPLIT_KEYS = 'k',
    RECORD_NODE = 'n',
    RECORD_RANGE = 'r'
};

/* A record being made: a key of at most 11 bytes and its value. */
struct record {
    struct buf key, value;
};

static void begin_record(struct record *record, enum record_kind kind, uint64_t id) {
    buf_clear(&record->key);
    buf_clear(&record->value);
    buf_append(&record->key, RECORD_PREFIX);
    encode_u8(&record->key, (uint8_t)kind);
    if (id) encode_u64_be(&record->key, id);
    encode_u8(&record->value, kind == RECORD_NODE ? NODE_RECORD_VERSION : RECORD_VERSION);
}

static void record_done(struct record *record) {
    buf_done(&record->key);
    buf_done(&record->value);
}

/* ---- encoding ---- */

static void make_small(struct record *record, const struct placement_state *state) {
    begin_record(record, RECORD_SMALL, 0);
    struct buf *out = &record->value;
    encode_u64(out, state->cluster_id);
    encode_varint(out, state->replication_factor);
    encode_varint(out, state->birth_nodes);
    encode_varint(out, state->split_key_count);
    encode_u8(out, state->born);
    encode_varint(out, state->next_node_id);
    encode_varint(out, state->next_range_id);
    encode_u64(out, state->timestamp_bound);
    encode_varint(out, state->book_version);
}

static void make_split_keys(struct record *record, const struct placement_state *state) {
    begin_record(record, RECORD_SPLIT_KEYS, 0);
    buf_append(&record->value, slice_from_buf(&state->split_keys));
}

static void make_node(struct record *record, const struct placement_node *node) {
    begin_record(record, RECORD_NODE, node->node_id);
    struct buf *out = &record->value;
    encode_varint(out, node->node_id);
    buf_append(out, slice_make(node->uuid.bytes, sizeof(node->uuid.bytes)));
    encode_u64(out, node->incarnation);
    encode_bytes(out, slice_from_buf(&node->address));
    encode_bytes(out, slice_from_buf(&node->version));
    encode_varint(out, node->synced_sequence);
}

static void make_range(struct record *record, const struct placement_birth_range *range) {
    begin_record(record, RECORD_RANGE, range->descriptor.range_id);
    encode_varint(&record->value, range->confirmed);
    placement_descriptor_encode(&record->value, &range->descriptor);
}

void placement_state_records(const struct placement_state *state, placement_record_fn *emit,
                             void *ctx) {
    struct record record = {0};
    make_small(&record, state);
    emit(ctx, slice_from_buf(&record.key), slice_from_buf(&record.value));
    if (state->split_key_count) {
        make_split_keys(&record, state);
        emit(ctx, slice_from_buf(&record.key), slice_from_buf(&record.value));
    }
    for (uint32_t i = 0; i < state->node_count; i++) {
        make_node(&record, &state->nodes[i]);
        emit(ctx, slice_from_buf(&record.key), slice_from_buf(&record.value));
    }
    for (uint32_t i = 0; i < state->range_count; i++) {
        make_range(&record, &state->ranges[i]);
        emit(ctx, slice_from_buf(&record.key), slice_from_buf(&record.value));
    }
    record_done(&record);
}

/* ---- into a batch ---- */

static void put_record(void *batch, struct slice key, struct slice value) {
    storage_batch_put(batch, STORAGE_META, key, value);
}

static void put_and_free(struct record *record, struct storage_batch *batch) {
    put_record(batch, slice_from_buf(&record->key), slice_from_buf(&record->value));
    record_done(record);
}

void placement_put_small(const struct placement_state *state, struct storage_batch *batch) {
    struct record record = {0};
    make_small(&record, state);
    put_and_free(&record, batch);
}

void placement_put_node(const struct placement_node *node, struct storage_batch *batch) {
    struct record record = {0};
    make_node(&record, node);
    put_and_free(&record, batch);
}

void placement_put_range(const struct placement_birth_range *range, struct storage_batch *batch) {
    struct record record = {0};
    make_range(&record, range);
    put_and_free(&record, batch);
}

void placement_put_split_keys(const struct placement_state *state, struct storage_batch *batch) {
    struct record record = {0};
    make_split_keys(&record, state);
    if (state->split_key_count) {
        put_and_free(&record, batch);
        return;
    }
    storage_batch_delete(batch, STORAGE_META, slice_from_buf(&record.key));
    record_done(&record);
}

void placement_state_replace_records(const struct placement_state *state,
                                     struct storage_batch *batch) {
    storage_batch_delete_range(batch, STORAGE_META, RECORD_PREFIX, RECORD_PREFIX_END);
    placement_state_records(state, put_record, batch);
}

/* ---- decoding ---- */

static void load_small(struct placement_state *state, struct decoder *in) {
    state->cluster_id = decode_u64(in);
    state->replication_factor = (uint32_t)decode_varint(in);
    state->birth_nodes = (uint32_t)decode_varint(in);
    state->split_key_count = (uint32_t)decode_varint(in);
    state->born = decode_u8(in) != 0;
    state->next_node_id = decode_varint(in);
    state->next_range_id = decode_varint(in);
    state->timestamp_bound = decode_u64(in);
    state->book_version = decode_varint(in);
    if (!decoder_finished(in) || !state->next_node_id || !state->next_range_id ||
        state->replication_factor > PLACEMENT_REPLICAS_MAX)
        in->failed = true;
}

static void load_node(struct placement_state *state, uint8_t record_version, struct decoder *in) {
    struct placement_node node = {.node_id = decode_varint(in)};
    struct slice uuid = decode_fixed(in, sizeof(node.uuid.bytes));
    node.incarnation = decode_u64(in);
    struct slice address = decode_bytes(in), version = decode_bytes(in);
    if (record_version > 1) node.synced_sequence = decode_varint(in);
    uint64_t last = state->node_count ? state->nodes[state->node_count - 1].node_id : 0;
    if (!decoder_finished(in) || node.node_id <= last || state->node_count >= PLACEMENT_NODES_MAX) {
        in->failed = true;
        return;
    }
    memcpy(node.uuid.bytes, uuid.data, sizeof(node.uuid.bytes));
    buf_assign(&node.address, address);
    buf_assign(&node.version, version);
    if (state->node_count == state->node_cap) {
        state->node_cap = state->node_cap ? state->node_cap * 2 : 8;
        state->nodes = memory_realloc(state->nodes, state->node_cap * sizeof(*state->nodes));
    }
    state->nodes[state->node_count++] = node;
}

/* The array grows to the next power of two, so that no count needs to be stored. */
static void load_range(struct placement_state *state, struct decoder *in) {
    struct placement_birth_range range = {.confirmed = (uint32_t)decode_varint(in)};
    if (placement_descriptor_decode(in, &range.descriptor) || !decoder_finished(in) ||
        range.descriptor.range_id != (uint64_t)state->range_count + 1 ||
        state->range_count >= PLACEMENT_INITIAL_RANGES_MAX ||
        range.confirmed >> range.descriptor.replica_count) {
        placement_descriptor_done(&range.descriptor);
        in->failed = true;
        return;
    }
    uint32_t count = state->range_count;
    if ((count & (count - 1)) == 0) {
        size_t cap = count ? (size_t)count * 2 : 1;
        state->ranges = memory_realloc(state->ranges, cap * sizeof(*state->ranges));
    }
    for (uint32_t i = 0; i < range.descriptor.replica_count; i++) {
        if (!(range.confirmed >> i & 1)) state->unconfirmed++;
    }
    state->ranges[state->range_count++] = range;
}

static enum status load_record(struct placement_state *state, struct slice key,
                               struct slice value) {
    if (!slice_has_prefix(key, RECORD_PREFIX) || key.len <= RECORD_PREFIX.len)
        return STATUS_CORRUPTION;
    struct decoder in = decoder_make(value);
    uint8_t kind = key.data[RECORD_PREFIX.len], version = decode_u8(&in);
    if (version < 1 || version > (kind == RECORD_NODE ? NODE_RECORD_VERSION : RECORD_VERSION))
        return STATUS_CORRUPTION;
    switch (kind) {
    case RECORD_SMALL:
        load_small(state, &in);
        break;
    case RECORD_SPLIT_KEYS:
        buf_assign(&state->split_keys, slice_make(in.at, decoder_left(&in)));
        break;
    case RECORD_NODE:
        load_node(state, version, &in);
        break;
    case RECORD_RANGE:
        load_range(state, &in);
        break;
    default:
        return STATUS_CORRUPTION;
    }
    return in.failed ? STATUS_CORRUPTION : STATUS_OK;
}

/* What single records cannot tell: that they fit together. What passes here passes
 * placement_state_check. */
static enum status check_loaded(const struct placement_state *state) {
    struct decoder keys = decoder_make(slice_from_buf(&state->split_keys));
    struct slice previous = SLICE_EMPTY;
    for (uint32_t i = 0; i < state->split_key_count && !keys.failed; i++) {
        struct slice key = decode_bytes(&keys);
        if (slice_compare(key, previous) <= 0) return STATUS_CORRUPTION;
        previous = key;
    }
    if (!decoder_finished(&keys)) return STATUS_CORRUPTION;
    if (state->born != (state->range_count > 0) || state->next_range_id <= state->range_count)
        return STATUS_CORRUPTION;
    if (!state->cluster_id && (state->node_count || state->born)) return STATUS_CORRUPTION;
    for (uint32_t i = 0; i < state->node_count; i++) {
        const struct placement_node *node = &state->nodes[i];
        if (node->node_id >= state->next_node_id ||
            placement_state_node_by_uuid(state, &node->uuid) != node)
            return STATUS_CORRUPTION;
    }
    struct slice start = SLICE_EMPTY;
    for (uint32_t i = 0; i < state->range_count; i++) {
        const struct placement_descriptor *descriptor = &state->ranges[i].descriptor;
        if (!slice_equal(slice_from_buf(&descriptor->start), start)) return STATUS_CORRUPTION;
        start = slice_from_buf(&descriptor->end);
        if ((start.len == 0) != (i + 1 == state->range_count)) return STATUS_CORRUPTION;
        for (uint32_t j = 0; j < descriptor->replica_count; j++) {
            if (!placement_state_node(state, descriptor->replicas[j].node_id))
                return STATUS_CORRUPTION;
        }
    }
    return STATUS_OK;
}

enum status placement_state_load(struct placement_state *state, struct storage_engine *engine) {
    ASSERT(!state->cluster_id && !state->node_count);
    struct storage_iterator *iterator =
        storage_iterator_new(engine, NULL, STORAGE_META, RECORD_PREFIX, RECORD_PREFIX_END);
    enum status status = STATUS_OK;
    for (storage_iterator_seek_first(iterator); !status && storage_iterator_valid(iterator);
         storage_iterator_next(iterator))
        status =
            load_record(state, storage_iterator_key(iterator), storage_iterator_value(iterator));
    if (!status) status = storage_iterator_status(iterator);
    storage_iterator_free(iterator);
    return status ? status : check_loaded(state);
}

/* ---- snapshots ---- */

static void append_record(void *out, struct slice key, struct slice value) {
    encode_bytes(out, key);
    encode_bytes(out, value);
}

void placement_state_snapshot(const struct placement_state *state, struct buf *out) {
    encode_u8(out, RECORD_VERSION);
    placement_state_records(state, append_record, out);
}

enum status placement_state_restore(struct placement_state *state, struct slice bytes) {
    ASSERT(!state->cluster_id && !state->node_count);
    struct decoder in = decoder_make(bytes);
    if (decode_u8(&in) != RECORD_VERSION) return STATUS_CORRUPTION;
    while (decoder_left(&in) > 0 && !in.failed) {
        struct slice key = decode_bytes(&in), value = decode_bytes(&in);
        if (in.failed) break;
        enum status status = load_record(state, key, value);
        if (status) return status;
    }
    return in.failed ? STATUS_CORRUPTION : check_loaded(state);
}
