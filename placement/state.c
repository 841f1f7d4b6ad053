/* Applying commands to the replicated state. */
#include "placement/state.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/memory.h"
#include "placement/birth.h"

void placement_state_init(struct placement_state *state) {
    *state = (struct placement_state){.next_node_id = 1, .next_range_id = 1};
}

void placement_state_done(struct placement_state *state) {
    for (uint32_t i = 0; i < state->node_count; i++) {
        buf_done(&state->nodes[i].address);
        buf_done(&state->nodes[i].version);
    }
    memory_free(state->nodes);
    for (uint32_t i = 0; i < state->range_count; i++)
        placement_descriptor_done(&state->ranges[i].descriptor);
    memory_free(state->ranges);
    buf_done(&state->split_keys);
    *state = (struct placement_state){0};
}

bool placement_uuid_equal(const struct placement_uuid *a, const struct placement_uuid *b) {
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

struct placement_node *placement_state_node(const struct placement_state *state, uint64_t node_id) {
    uint32_t low = 0, high = state->node_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (state->nodes[middle].node_id < node_id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == state->node_count || state->nodes[low].node_id != node_id) return NULL;
    return &state->nodes[low];
}

struct placement_node *placement_state_node_by_uuid(const struct placement_state *state,
                                                    const struct placement_uuid *uuid) {
    for (uint32_t i = 0; i < state->node_count; i++) {
        if (placement_uuid_equal(&state->nodes[i].uuid, uuid)) return &state->nodes[i];
    }
    return NULL;
}

static void apply_form(struct placement_state *state, const struct placement_form *form,
                       struct storage_batch *batch, struct placement_outcome *outcome) {
    if (state->cluster_id) {
        outcome->status = STATUS_EXISTS;
        return;
    }
    state->cluster_id = form->cluster_id;
    state->replication_factor = form->replication_factor;
    state->birth_nodes = form->birth_nodes;
    state->split_key_count = form->split_key_count;
    buf_assign(&state->split_keys, form->split_keys);
    placement_put_split_keys(state, batch);
    placement_put_small(state, batch);
}

/* ---- registration ---- */

/* The id is claimed and another directory holds it, or nobody does. */
static enum status refuse_unknown_node(const struct placement_state *state,
                                       const struct placement_register_request *request,
                                       const struct placement_node *holder, struct buf *text) {
    if (!holder) {
        buf_printf(text,
                   "node %" PRIu64 " is not known to cluster %016" PRIx64 ": its data directory "
                   "comes from elsewhere or placement has lost its state; check --placement, or "
                   "start the node with an empty --data-dir",
                   request->node_id, state->cluster_id);
        return STATUS_MISMATCH;
    }
    buf_printf(text,
               "node id %" PRIu64 " belongs to another data directory (its node was last "
               "registered at %.*s): two directories claim one id; start this node with an empty "
               "--data-dir",
               request->node_id, (int)holder->address.len, (const char *)holder->address.data);
    return STATUS_EXISTS;
}

/* Starts are counted in the directory: one that was put back from an older copy counts again what
 * was counted before. What an engine reported as synced survives any crash: one that opens with
 * less is older, or its disk has lost what it said it had. */
static bool starts_are_old(const struct placement_node *node,
                           const struct placement_register_request *request) {
    return request->incarnation != node->incarnation &&
           placement_incarnation_starts(request->incarnation) <=
               placement_incarnation_starts(node->incarnation);
}

static bool sequence_is_old(const struct placement_node *node,
                            const struct placement_register_request *request,
                            uint64_t known_sequence) {
    /* A process that asks again has written since it opened the engine. */
    return request->incarnation != node->incarnation &&
           (request->synced_sequence < node->synced_sequence ||
            request->synced_sequence < known_sequence);
}

bool placement_state_is_set_back(const struct placement_state *state,
                                 const struct placement_register_request *request,
                                 uint64_t known_sequence) {
    const struct placement_node *node = placement_state_node_by_uuid(state, &request->uuid);
    return node &&
           (starts_are_old(node, request) || sequence_is_old(node, request, known_sequence));
}

static enum status refuse_set_back(const struct placement_node *node,
                                   const struct placement_register_request *request,
                                   uint64_t known_sequence, struct buf *text) {
    if (known_sequence < node->synced_sequence) known_sequence = node->synced_sequence;
    buf_printf(
        text, "the data directory of node %" PRIu64 " is older than what the cluster knows of it: ",
        node->node_id);
    if (starts_are_old(node, request))
        buf_printf(text, "start number %" PRIu64 " comes after start number %" PRIu64 " (",
                   placement_incarnation_starts(request->incarnation),
                   placement_incarnation_starts(node->incarnation));
    else
        buf_printf(text, "its engine ends at sequence %" PRIu64 ", and had synced %" PRIu64 " (",
                   request->synced_sequence, known_sequence);
    buf_printf(text, "an older copy, a disk that lost its tail, or a second copy that runs). Its "
                     "replicas have forgotten what they promised and must not vote: start a node "
                     "with an empty --data-dir and move this one's replicas there (flotilla admin "
                     "move-replica), or put the newest directory back");
    return STATUS_MISMATCH;
}

enum status placement_state_check_registration(const struct placement_state *state,
                                               const struct placement_register_request *request,
                                               uint64_t known_sequence, struct buf *text) {
    if (request->cluster_id && request->cluster_id != state->cluster_id) {
        buf_printf(text,
                   "this node's data directory belongs to cluster %016" PRIx64 ", but this "
                   "placement serves cluster %016" PRIx64 ": point --placement at the node's own "
                   "cluster, or start the node with an empty --data-dir",
                   request->cluster_id, state->cluster_id);
        return STATUS_MISMATCH;
    }
    const struct placement_node *same = placement_state_node_by_uuid(state, &request->uuid);
    if (request->node_id) {
        const struct placement_node *holder = placement_state_node(state, request->node_id);
        if (!holder || !placement_uuid_equal(&holder->uuid, &request->uuid))
            return refuse_unknown_node(state, request, holder, text);
    } else if (!same && state->node_count >= PLACEMENT_NODES_MAX) {
        buf_printf(text, "the cluster has %u nodes, which is the limit", PLACEMENT_NODES_MAX);
        return STATUS_TOO_LARGE;
    }
    if (placement_state_is_set_back(state, request, known_sequence))
        return refuse_set_back(same, request, known_sequence, text);
    return STATUS_OK;
}

static struct placement_node *add_node(struct placement_state *state,
                                       const struct placement_uuid *uuid) {
    if (state->node_count == state->node_cap) {
        state->node_cap = state->node_cap ? state->node_cap * 2 : 8;
        state->nodes = memory_realloc(state->nodes, state->node_cap * sizeof(*state->nodes));
    }
    struct placement_node *node = &state->nodes[state->node_count++];
    *node = (struct placement_node){.node_id = state->next_node_id++, .uuid = *uuid};
    return node;
}

static bool raise_synced(struct placement_node *node, uint64_t sequence) {
    if (sequence <= node->synced_sequence) return false;
    node->synced_sequence = sequence;
    return true;
}

static void apply_registration(struct placement_state *state,
                               const struct placement_register_request *request,
                               struct storage_batch *batch, struct placement_outcome *outcome) {
    struct buf unwanted = {0};
    outcome->status = placement_state_check_registration(state, request, 0,
                                                         outcome->text ? outcome->text : &unwanted);
    buf_done(&unwanted);
    if (outcome->status) return;
    struct placement_node *node = placement_state_node_by_uuid(state, &request->uuid);
    bool added = !node;
    if (added) node = add_node(state, &request->uuid);
    if (!slice_equal(slice_from_buf(&node->address), request->address) ||
        node->incarnation != request->incarnation) {
        buf_assign(&node->address, request->address);
        state->book_version++;
    }
    buf_assign(&node->version, request->version);
    node->incarnation = request->incarnation;
    raise_synced(node, request->synced_sequence);
    outcome->node_id = node->node_id;
    placement_put_node(node, batch);
    placement_put_small(state, batch);
}

/* ---- birth ---- */

/* Who gets the ranges. False: fewer than the birth needs, or somebody who is not registered. */
static bool birth_nodes(const struct placement_state *state,
                        const struct placement_command *command, uint64_t *ret_node_ids,
                        uint32_t *ret_count) {
    uint32_t count = command->birth.node_count;
    struct decoder ids = decoder_make(command->birth.node_ids);
    if (count > state->node_count) return false;
    for (uint32_t i = 0; i < count; i++) {
        ret_node_ids[i] = decode_varint(&ids);
        if (!placement_state_node(state, ret_node_ids[i])) return false;
    }
    for (uint32_t i = 0; command->birth.node_count == 0 && i < state->node_count; i++)
        ret_node_ids[count++] = state->nodes[i].node_id;
    *ret_count = count;
    return count >= state->birth_nodes;
}

static void apply_birth(struct placement_state *state, const struct placement_command *command,
                        struct storage_batch *batch, struct placement_outcome *outcome) {
    if (state->born) {
        outcome->status = STATUS_EXISTS;
        return;
    }
    uint32_t node_count = 0;
    uint64_t *node_ids = memory_alloc((state->node_count + 1) * sizeof(*node_ids));
    if (!state->cluster_id || !birth_nodes(state, command, node_ids, &node_count)) {
        memory_free(node_ids);
        outcome->status = STATUS_UNAVAILABLE;
        return;
    }
    state->range_count = state->split_key_count + 1;
    state->ranges = memory_zalloc(state->range_count * sizeof(*state->ranges));
    struct decoder keys = decoder_make(slice_from_buf(&state->split_keys));
    struct slice start = SLICE_EMPTY;
    for (uint32_t i = 0; i < state->range_count; i++) {
        struct slice end = i < state->split_key_count ? decode_bytes(&keys) : SLICE_EMPTY;
        placement_birth_descriptor(i, start, end, node_ids, node_count, state->replication_factor,
                                   &state->ranges[i].descriptor);
        placement_put_range(&state->ranges[i], batch);
        start = end;
    }
    ASSERT(decoder_finished(&keys));
    memory_free(node_ids);
    state->unconfirmed = state->range_count * state->replication_factor;
    state->next_range_id = (uint64_t)state->range_count + 1;
    state->born = true;
    state->split_key_count = 0;
    buf_done(&state->split_keys);
    placement_put_split_keys(state, batch);
    placement_put_small(state, batch);
}

static void apply_confirm(struct placement_state *state, const struct placement_command *command,
                          struct storage_batch *batch, struct placement_outcome *outcome) {
    struct decoder ids = decoder_make(command->confirm.range_ids);
    for (uint64_t i = 0; i < command->confirm.range_count; i++) {
        uint64_t range_id = decode_varint(&ids);
        if (!range_id || range_id > state->range_count) continue; /* born later than the cluster */
        struct placement_birth_range *range = &state->ranges[range_id - 1];
        const struct placement_replica *replica =
            placement_descriptor_on_node(&range->descriptor, command->confirm.node_id);
        if (!replica) continue;
        uint32_t bit = UINT32_C(1) << (replica - range->descriptor.replicas);
        if (range->confirmed & bit) continue;
        range->confirmed |= bit;
        ASSERT_CMP(state->unconfirmed, >, 0);
        state->unconfirmed--;
        placement_put_range(range, batch);
    }
    outcome->status = STATUS_OK;
}

static void apply_synced(struct placement_state *state, const struct placement_command *command,
                         struct storage_batch *batch) {
    struct decoder nodes = decoder_make(command->synced.nodes);
    for (uint32_t i = 0; i < command->synced.node_count; i++) {
        struct placement_node *node = placement_state_node(state, decode_varint(&nodes));
        uint64_t sequence = decode_varint(&nodes);
        if (node && raise_synced(node, sequence)) placement_put_node(node, batch);
    }
}

void placement_state_apply(struct placement_state *state, const struct placement_command *command,
                           struct storage_batch *batch, struct placement_outcome *outcome) {
    outcome->status = STATUS_OK;
    switch (command->kind) {
    case PLACEMENT_FORM:
        apply_form(state, &command->form, batch, outcome);
        return;
    case PLACEMENT_REGISTER:
        apply_registration(state, &command->registration, batch, outcome);
        return;
    case PLACEMENT_BIRTH:
        apply_birth(state, command, batch, outcome);
        return;
    case PLACEMENT_CONFIRM:
        apply_confirm(state, command, batch, outcome);
        return;
    case PLACEMENT_EXTEND:
        if (command->timestamp_bound <= state->timestamp_bound) return; /* an older leader's */
        state->timestamp_bound = command->timestamp_bound;
        placement_put_small(state, batch);
        return;
    case PLACEMENT_SYNCED:
        apply_synced(state, command, batch);
        return;
    }
    ASSERT(!"a decoded command has a known kind");
}

/* ---- invariants ---- */

static void check_ranges(const struct placement_state *state) {
    struct slice start = SLICE_EMPTY;
    uint32_t unconfirmed = 0;
    for (uint32_t i = 0; i < state->range_count; i++) {
        const struct placement_descriptor *descriptor = &state->ranges[i].descriptor;
        ASSERT(placement_descriptor_valid(descriptor));
        ASSERT_CMP(descriptor->range_id, ==, i + 1);
        ASSERT(slice_equal(slice_from_buf(&descriptor->start), start));
        start = slice_from_buf(&descriptor->end);
        ASSERT((start.len == 0) == (i + 1 == state->range_count));
        for (uint32_t j = 0; j < descriptor->replica_count; j++) {
            ASSERT(placement_state_node(state, descriptor->replicas[j].node_id));
            if (!(state->ranges[i].confirmed >> j & 1)) unconfirmed++;
        }
    }
    ASSERT_CMP(unconfirmed, ==, state->unconfirmed);
}

void placement_state_check(const struct placement_state *state) {
    ASSERT(state->cluster_id || (!state->node_count && !state->born));
    ASSERT(state->born == (state->range_count > 0));
    ASSERT_CMP(state->next_range_id, >, state->range_count);
    for (uint32_t i = 0; i < state->node_count; i++) {
        ASSERT_CMP(state->nodes[i].node_id, <, state->next_node_id);
        if (i) ASSERT_CMP(state->nodes[i - 1].node_id, <, state->nodes[i].node_id);
        ASSERT(placement_state_node_by_uuid(state, &state->nodes[i].uuid) == &state->nodes[i]);
    }
    check_ranges(state);
}
