/* Membership changes in the log (thesis 4.1, 4.3): proposing, encoding, taking effect.
 *
 * Payload of a conf-change entry; empty means: leave the joint configuration.
 *
 *   transition  1 byte   enum raft_conf_transition
 *   count       varint
 *   changes     count × (kind 1 byte, replica id varint)
 *   context     the rest: the owner's
 */
#include "base/assert.h"
#include "base/codec.h"
#include "base/log.h"
#include "raft/internal.h"

static struct payload *encode(const struct raft_conf_change *change) {
    bool leave = change->count == 0 && change->transition == RAFT_TRANSITION_AUTO &&
                 change->context.len == 0;
    if (leave) return NULL;
    struct buf bytes = {0};
    encode_u8(&bytes, (uint8_t)change->transition);
    encode_varint(&bytes, change->count);
    for (uint32_t at = 0; at < change->count; at++) {
        encode_u8(&bytes, (uint8_t)change->changes[at].kind);
        encode_varint(&bytes, change->changes[at].id);
    }
    buf_append(&bytes, change->context);
    struct payload *payload = payload_copy(slice_from_buf(&bytes));
    buf_done(&bytes);
    return payload;
}

enum status raft_decode_conf_change(const struct raft_entry *entry,
                                    struct raft_conf_change *ret_change) {
    if (entry->kind == RAFT_ENTRY_NORMAL) return STATUS_CORRUPTION;
    struct raft_conf_change change = {.v1 = entry->kind == RAFT_ENTRY_CONF_CHANGE};
    struct slice bytes = payload_slice(entry->payload);
    if (bytes.len > 0) {
        struct decoder in = decoder_make(bytes);
        uint8_t transition = decode_u8(&in);
        uint64_t count = decode_varint(&in);
        if (in.failed || transition > RAFT_TRANSITION_EXPLICIT || count > RAFT_REPLICAS_MAX) {
            return STATUS_CORRUPTION;
        }
        change.transition = (enum raft_conf_transition)transition;
        change.count = (uint32_t)count;
        for (uint32_t at = 0; at < change.count; at++) {
            uint8_t kind = decode_u8(&in);
            if (kind > RAFT_CONF_ADD_LEARNER) return STATUS_CORRUPTION;
            change.changes[at].kind = (enum raft_conf_change_kind)kind;
            change.changes[at].id = decode_varint(&in);
        }
        if (in.failed) return STATUS_CORRUPTION;
        change.context = decode_fixed(&in, decoder_left(&in));
    }
    *ret_change = change;
    return STATUS_OK;
}

enum status raft_propose_conf_change(struct raft *raft, const struct raft_conf_change *change,
                                     struct raft_log_id *ret_id) {
    if (change->count > RAFT_REPLICAS_MAX || (change->v1 && change->count != 1)) {
        return STATUS_INVALID;
    }
    struct raft_entry entry = {.kind =
                                   change->v1 ? RAFT_ENTRY_CONF_CHANGE : RAFT_ENTRY_CONF_CHANGE_V2,
                               .payload = encode(change)};
    struct raft_message message = {.kind = RAFT_MSG_PROPOSE,
                                   .from = raft->config.id,
                                   .to = raft->config.id,
                                   .entry_count = 1,
                                   .entries = &entry};
    struct payload *payload = entry.payload;
    bool leads = raft->role == RAFT_LEADER;
    enum status status = raft_step(raft, &message);
    payload_unref(payload);
    if (status == STATUS_OK && ret_id) {
        *ret_id = leads ? raft->log.last : (struct raft_log_id){0, 0};
    }
    return status;
}

/* One change at a time: the next may be proposed once the last is applied, and a joint
 * configuration must be left before another change (4.3). */
enum status raft_vet_conf_change(struct raft *raft, struct raft_entry *entry, uint64_t index) {
    struct raft_conf_change change;
    enum status status = raft_decode_conf_change(entry, &change);
    if (status != STATUS_OK) return status;
    bool pending = raft->pending_conf_index > raft->log.applied;
    bool joint = raft_conf_state_joint(&raft->conf);
    bool leaves = raft_conf_change_step(&change) == RAFT_CONF_LEAVE_JOINT;
    bool refused = pending || joint != leaves;
    if (!refused) {
        struct raft_conf_edit edit;
        refused = raft_conf_apply(&raft->conf, &change, &edit) != STATUS_OK;
    }
    if (refused && !raft->config.conf_change_unchecked) {
        entry->kind = RAFT_ENTRY_NORMAL;
        entry->payload = NULL; /* still referenced by whoever proposed it */
    } else {
        raft->pending_conf_index = index;
    }
    return STATUS_OK;
}

/* Leading outside of the configuration is pointless (4.2.2). */
static bool steps_down(struct raft *raft) {
    const struct raft_progress *own = raft_progress_of(raft, raft->config.id);
    if (own && !own->learner) return false;
    if (!raft->config.lead_after_removal) {
        raft_become_follower(raft, raft->term, RAFT_NO_REPLICA);
    }
    return true;
}

void raft_switch_configuration(struct raft *raft, const struct raft_conf_edit *edit) {
    struct raft_progress_limits limits = {raft->config.inflight_messages_max,
                                          raft->config.inflight_bytes_max};
    raft->conf = edit->conf;
    raft_progress_set_follow(&raft->progress, edit, raft->log.last.index, &limits);
    if (raft->role != RAFT_LEADER || steps_down(raft) || raft->conf.voters.count == 0) return;
    if (raft_maybe_commit(raft)) {
        /* A smaller quorum agrees on more. */
        raft_release_early_reads(raft);
        raft_broadcast_append(raft);
    } else {
        /* Whoever is new is probed now instead of with the next heartbeat. */
        for (uint32_t at = 0; at < raft->progress.count; at++) {
            struct raft_progress *progress = &raft->progress.items[at];
            if (progress->id == raft->config.id) continue;
            (void)raft_maybe_send_append(raft, progress, false); /* nothing new: nothing to send */
        }
    }
    raft_confirm_reads(raft);
    if (!raft_conf_state_is_voter(&raft->conf, raft->transfer_target)) raft_abort_transfer(raft);
}

void raft_apply_conf_change(struct raft *raft, const struct raft_conf_change *change,
                            struct raft_conf_state *ret_conf) {
    struct raft_conf_edit edit;
    enum status status = raft_conf_apply(&raft->conf, change, &edit);
    if (status == STATUS_OK) {
        raft_switch_configuration(raft, &edit);
    } else {
        /* Every replica has the same configuration here and refuses alike. */
        log_error("raft_conf_change_refused", "%s replica=%lu status=%s",
                  raft->config.log_prefix ? raft->config.log_prefix : "",
                  (unsigned long)raft->config.id, status_name(status));
    }
    if (ret_conf) *ret_conf = raft->conf;
}

/* A leader that applied its way into a joint configuration with automatic leave proposes to leave
 * it. A full log may drop the proposal; the next applied entry tries again. */
void raft_maybe_auto_leave(struct raft *raft) {
    if (raft->role != RAFT_LEADER || !raft->conf.auto_leave) return;
    if (raft->log.applied < raft->pending_conf_index) return;
    struct raft_conf_change leave = {.transition = RAFT_TRANSITION_AUTO};
    enum status status = raft_propose_conf_change(raft, &leave, NULL);
    ASSERT(status == STATUS_OK || status == STATUS_DROPPED);
}
