/* Applying committed entries to the replicated state, and remembering how far that came.
 *
 * Apply state of the group (RAFT_LOG_APPLY_STATE):
 *   version u8 = 1 ‖ member id varint ‖ applied term, index varints ‖
 *   compacted term, index varints ‖ conf state (raft/message_codec.h) */
#include <inttypes.h>

#include "base/assert.h"
#include "placement/driver.h"
#include "placement/metrics.h"
#include "raft/message_codec.h"
#include "raft/peer.h"

#define APPLY_STATE_VERSION 1u

void placement_driver_put_apply_state(const struct placement_driver *driver,
                                      struct storage_batch *batch) {
    struct buf bytes = {0};
    encode_u8(&bytes, APPLY_STATE_VERSION);
    encode_varint(&bytes, driver->config.member_id);
    encode_varint(&bytes, driver->applied.term);
    encode_varint(&bytes, driver->applied.index);
    encode_varint(&bytes, driver->log_base.term);
    encode_varint(&bytes, driver->log_base.index);
    raft_encode_conf_state(&bytes, &driver->conf);
    raft_log_put_state(&driver->log, batch, RAFT_LOG_APPLY_STATE, slice_from_buf(&bytes));
    buf_done(&bytes);
}

enum status placement_driver_read_apply_state(struct placement_driver *driver, struct slice bytes,
                                              uint64_t *ret_member_id) {
    struct decoder in = decoder_make(bytes);
    if (decode_u8(&in) != APPLY_STATE_VERSION) return STATUS_CORRUPTION;
    uint64_t member_id = decode_varint(&in);
    driver->applied.term = decode_varint(&in);
    driver->applied.index = decode_varint(&in);
    driver->log_base.term = decode_varint(&in);
    driver->log_base.index = decode_varint(&in);
    enum status status = raft_decode_conf_state(&in, &driver->conf);
    if (!status && !decoder_finished(&in)) status = STATUS_CORRUPTION;
    if (!status) *ret_member_id = member_id;
    return status;
}

enum status placement_driver_check_entry(const struct raft_entry *entry, struct buf *why) {
    struct slice bytes = payload_slice(entry->payload);
    struct raft_conf_change change;
    struct placement_command command;
    enum status status = STATUS_OK;
    if (entry->kind != RAFT_ENTRY_NORMAL)
        status = raft_decode_conf_change(entry, &change);
    else if (bytes.len > 0) /* empty: a term begins */
        status = placement_command_decode(bytes, &command);
    if (status == STATUS_UNSUPPORTED && bytes.len > 0)
        buf_printf(why, "its format version is %u, this program knows %u", bytes.data[0],
                   PLACEMENT_COMMAND_VERSION);
    else if (status != STATUS_OK)
        buf_printf(why, "it is malformed");
    return status;
}

/* Skipping what the others apply would fork history. The entry was looked at when it came, so this
 * is what an earlier version let in, or what the disk has made of it. */
static _Noreturn void cannot_apply(const struct placement_driver *driver,
                                   const struct raft_entry *entry) {
    struct buf why = {0};
    enum status status = placement_driver_check_entry(entry, &why);
    fatal("placement member %" PRIu64 ": log entry %" PRIu64 " of term %" PRIu64
          ", kind %s, %zu bytes, cannot be applied: %.*s (%s); to skip it would fork history. The "
          "other members go on without this one",
          driver->config.member_id, entry->id.index, entry->id.term,
          raft_entry_kind_name(entry->kind), payload_slice(entry->payload).len, (int)why.len,
          (const char *)why.data, status_text(status));
}

static void apply_conf_change(struct placement_driver *driver, const struct raft_entry *entry) {
    struct raft_conf_change change;
    if (raft_decode_conf_change(entry, &change)) cannot_apply(driver, entry);
    raft_apply_conf_change(driver->raft, &change, &driver->conf);
}

/* What applying means beyond the replicated state, on the member that serves. */
static void follow_command(struct placement_driver *driver, const struct placement_command *command,
                           const struct placement_outcome *outcome) {
    if (!driver->serving_term || outcome->status) return;
    const struct placement_state *state = &driver->state;
    switch (command->kind) {
    case PLACEMENT_FORM:
        log_info("placement_formed", "cluster=%016" PRIx64 " replication_factor=%u birth_nodes=%u",
                 state->cluster_id, state->replication_factor, state->birth_nodes);
        return;
    case PLACEMENT_REGISTER:
        log_info("placement_node", "node=%" PRIu64 " address=%.*s nodes=%u", outcome->node_id,
                 (int)command->registration.address.len,
                 (const char *)command->registration.address.data, state->node_count);
        metric_add(&metric_placement_registrations_total, 1);
        return;
    case PLACEMENT_BIRTH:
        log_info("placement_born", "ranges=%u nodes=%u", state->range_count, state->node_count);
        for (uint32_t i = 0; i < state->range_count; i++)
            placement_view_learn(&driver->view, &state->ranges[i].descriptor);
        return;
    case PLACEMENT_CONFIRM:
    case PLACEMENT_SYNCED:
        return;
    case PLACEMENT_EXTEND:
        placement_timestamps_extended(&driver->timestamps, state->timestamp_bound);
        metric_set(&metric_placement_timestamp_bound, (int64_t)state->timestamp_bound);
        return;
    }
}

static void apply_command(struct placement_driver *driver, const struct raft_entry *entry) {
    struct placement_command command;
    if (placement_command_decode(payload_slice(entry->payload), &command))
        cannot_apply(driver, entry);
    buf_clear(&driver->text);
    struct placement_outcome outcome = {.text = &driver->text};
    placement_state_apply(&driver->state, &command, driver->effects, &outcome);
    follow_command(driver, &command, &outcome);
    placement_driver_answer_waiter(driver, entry->id, &outcome);
}

static void compact(struct placement_driver *driver) {
    uint64_t kept = driver->config.log_entries_kept;
    if (kept == 0 || kept > PLACEMENT_LOG_ENTRIES_KEPT) kept = PLACEMENT_LOG_ENTRIES_KEPT;
    if (driver->applied.index < driver->log.first_index + 2 * kept) return;
    uint64_t to = driver->applied.index - kept;
    uint64_t reachable = driver->log.first_index + PLACEMENT_COMPACT_ENTRIES_MAX - 1;
    if (to > reachable) to = reachable;
    struct raft_storage storage = placement_driver_storage(driver);
    uint64_t term;
    enum status status = storage.term(storage.ctx, to, &term);
    if (status)
        fatal("placement member %" PRIu64 ": log entry %" PRIu64 " cannot be read: %s",
              driver->config.member_id, to, status_text(status));
    uint64_t reached =
        raft_log_compact(&driver->log, driver->effects, to, PLACEMENT_COMPACT_ENTRIES_MAX);
    ASSERT_CMP(reached, ==, to);
    driver->log_base = (struct raft_log_id){.term = term, .index = to};
}

void placement_driver_apply(struct placement_driver *driver, const struct raft_entry *entries,
                            uint32_t count) {
    size_t bytes = 0;
    uint64_t index = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct raft_entry *entry = &entries[i];
        /* A snapshot that arrived in the same turn already holds it. */
        if (entry->id.index <= driver->applied.index) continue;
        ASSERT_CMP(entry->id.index, ==, driver->applied.index + 1);
        bytes += payload_slice(entry->payload).len;
        index = entry->id.index;
        if (entry->kind != RAFT_ENTRY_NORMAL)
            apply_conf_change(driver, entry);
        else if (entry->payload && entry->payload->len)
            apply_command(driver, entry);
        driver->applied = entry->id;
    }
    if (!index) return;
    compact(driver);
    placement_driver_put_apply_state(driver, driver->effects);
    raft_apply_done(driver->raft, index, bytes);
}
