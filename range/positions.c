#include "range/positions.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/codec.h"
#include "base/memory.h"
#include "range/worker.h"

#define ROW_VERSION 1u
#define ROW_PREFIX 'p'

struct row_key {
    uint8_t bytes[3];
};

static struct row_key row_key_make(uint32_t worker, uint32_t slot) {
    return (struct row_key){{ROW_PREFIX, (uint8_t)worker, (uint8_t)slot}};
}

static struct slice row_key_slice(const struct row_key *key) {
    return slice_make(key->bytes, sizeof(key->bytes));
}

_Static_assert(RANGE_WORKERS_MAX <= 256 && RANGE_POSITION_SLOTS <= 256, "a byte of the key each");

void range_positions_init(struct range_positions *positions) {
    for (uint32_t i = 0; i < RANGE_POSITION_SLOTS; i++)
        list_init(&positions->slots[i]);
}

void range_positions_done(struct range_positions *positions) {
    for (uint32_t i = 0; i < RANGE_POSITION_SLOTS; i++)
        ASSERT(list_empty(&positions->slots[i]));
    buf_done(&positions->row);
}

void range_positions_forget(struct range_replica *replica) {
    list_remove(&replica->apply.in_slot);
}

/* ---- a round ---- */

static void encode_position(struct buf *out, const struct range_replica *replica) {
    const struct range_apply_state *state = &replica->apply.state;
    encode_varint(out, range_replica_id(replica));
    encode_varint(out, replica->replica_id);
    encode_varint(out, state->applied.index);
    encode_varint(out, state->applied.term);
    encode_varint(out, state->truncated.index);
    encode_varint(out, state->truncated.term);
    encode_u64(out, state->last_commit_ts);
}

/* Moves the round's replicas into the slot, and their states into the row. */
static uint32_t fill_row(struct range_worker *worker, struct list_node *slot,
                         struct storage_batch *batch) {
    struct buf *row = &worker->apply.positions.row;
    uint32_t count = 0;
    uint32_t max = range_limit(worker->store->config.position_row_max, RANGE_POSITION_ROW_MAX);
    buf_clear(row);
    encode_u8(row, ROW_VERSION);
    LIST_FOR_EACH (node, &worker->apply.round) {
        struct range_replica *replica = CONTAINER_OF(node, struct range_replica, apply.in_round);
        list_remove(&replica->apply.in_slot);
        if (count == max) {
            range_replica_put_apply_state(replica, batch, &replica->apply.state);
            continue;
        }
        encode_position(row, replica);
        list_push_back(slot, &replica->apply.in_slot);
        count++;
    }
    return count;
}

void range_positions_put(struct range_worker *worker, struct storage_batch *batch) {
    struct range_positions *positions = &worker->apply.positions;
    struct list_node *slot = &positions->slots[positions->next], *node;
    struct list_node fresh;
    list_init(&fresh);
    uint32_t count = fill_row(worker, &fresh, batch);
    if (count == 0) return;
    /* Who is still in the slot is not in this round: what is applied is in the row that goes. */
    while ((node = list_pop_front(slot)) != NULL) {
        struct range_replica *replica = CONTAINER_OF(node, struct range_replica, apply.in_slot);
        range_replica_put_apply_state(replica, batch, &replica->applied);
    }
    while ((node = list_pop_front(&fresh)) != NULL)
        list_push_back(slot, node);
    struct row_key key = row_key_make(worker->index, positions->next);
    storage_batch_put(batch, STORAGE_RAFT, row_key_slice(&key), slice_from_buf(&positions->row));
    positions->next = (positions->next + 1) % RANGE_POSITION_SLOTS;
}

/* ---- recovery ---- */

static int compare_ids(uint64_t a, uint64_t b) {
    return a < b ? -1 : a > b;
}

static int compare_states(const struct range_apply_state *a, const struct range_apply_state *b) {
    int order = compare_ids(a->applied.index, b->applied.index);
    return order ? order : compare_ids(a->last_commit_ts, b->last_commit_ts);
}

static int compare(const void *a, const void *b) {
    const struct range_position *x = a, *y = b;
    int order = compare_ids(x->range_id, y->range_id);
    if (order == 0) order = compare_ids(x->replica_id, y->replica_id);
    return order ? order : compare_states(&x->state, &y->state);
}

static void add(struct range_position_table *table, const struct range_position *position) {
    if (table->count == table->cap) {
        table->cap = table->cap ? table->cap * 2 : 64;
        table->items = memory_realloc(table->items, table->cap * sizeof(*table->items));
    }
    table->items[table->count++] = *position;
}

static struct raft_log_id decode_log_id(struct decoder *in) {
    uint64_t index = decode_varint(in);
    return (struct raft_log_id){.term = decode_varint(in), .index = index};
}

enum status range_positions_decode(struct slice row, struct range_position_table *table) {
    struct decoder in = decoder_make(row);
    uint8_t version = decode_u8(&in);
    if (!in.failed && version != ROW_VERSION) return STATUS_UNSUPPORTED;
    while (!in.failed && decoder_left(&in) > 0) {
        struct range_position position = {.range_id = decode_varint(&in)};
        position.replica_id = decode_varint(&in);
        position.state.applied = decode_log_id(&in);
        position.state.truncated = decode_log_id(&in);
        position.state.last_commit_ts = decode_u64(&in);
        if (in.failed || !range_apply_state_sane(&position.state)) return STATUS_CORRUPTION;
        add(table, &position);
    }
    return in.failed ? STATUS_CORRUPTION : STATUS_OK;
}

enum status range_positions_read(struct storage_engine *engine, struct storage_batch *batch,
                                 struct range_position_table *table) {
    static const uint8_t begin[] = {ROW_PREFIX}, end[] = {ROW_PREFIX + 1};
    struct storage_iterator *iterator = storage_iterator_new(
        engine, NULL, STORAGE_RAFT, slice_make(begin, sizeof(begin)), slice_make(end, sizeof(end)));
    enum status status = STATUS_OK;
    for (storage_iterator_seek_first(iterator);
         status == STATUS_OK && storage_iterator_valid(iterator); storage_iterator_next(iterator)) {
        status = range_positions_decode(storage_iterator_value(iterator), table);
        storage_batch_delete(batch, STORAGE_RAFT, storage_iterator_key(iterator));
    }
    if (status == STATUS_OK) status = storage_iterator_status(iterator);
    storage_iterator_free(iterator);
    if (table->count > 0) qsort(table->items, table->count, sizeof(*table->items), compare);
    return status;
}

void range_position_table_done(struct range_position_table *table) {
    memory_free(table->items);
    *table = (struct range_position_table){0};
}

bool range_positions_resolve(const struct range_position_table *table, uint64_t range_id,
                             uint64_t replica_id, struct range_apply_state *state) {
    struct range_position wanted = {
        .range_id = range_id, .replica_id = replica_id, .state.applied.index = UINT64_MAX};
    size_t low = 0, high = table->count; /* the first behind all states of the replica */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&table->items[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0) return false;
    const struct range_position *newest = &table->items[low - 1];
    if (newest->range_id != range_id || newest->replica_id != replica_id ||
        compare_states(&newest->state, state) <= 0)
        return false;
    *state = newest->state;
    return true;
}
