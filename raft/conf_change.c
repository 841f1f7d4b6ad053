/* Configuration changes: proposing them, their bytes, and taking effect (thesis 4).
 *
 * Bytes of an entry, kind RAFT_ENTRY_CONF_CHANGE (one change):
 *   u8 kind | varint replica id | context to the end
 * kind RAFT_ENTRY_CONF_CHANGE_V2; no bytes at all: leave the joint configuration:
 *   u8 transition | varint count | count times (u8 kind, varint replica id) | context to the end
 *
 * At most one change is on its way: none is appended while pending_conf_index is not applied, and
 * what does not follow from the current configuration is replaced by an empty entry, so that
 * applying a change never fails. */
#include "base/codec.h"
#include "raft/internal.h"

static struct payload *encode_change(const struct raft_conf_change *change) {
    struct buf bytes = {0};
    if (change->v1) {
        encode_u8(&bytes, (uint8_t)change->changes[0].kind);
        encode_varint(&bytes, change->changes[0].id);
    } else if (change->count > 0 || change->context.len > 0) {
        encode_u8(&bytes, (uint8_t)change->transition);
        encode_varint(&bytes, change->count);
        for (uint32_t at = 0; at < change->count; at++) {
            encode_u8(&bytes, (uint8_t)change->changes[at].kind);
            encode_varint(&bytes, change->changes[at].id);
        }
    }
    buf_append(&bytes, change->context);
    struct payload *payload = bytes.len ? payload_copy(slice_from_buf(&bytes)) : NULL;
    buf_done(&bytes);
    return payload;
}

static bool decode_one(struct decoder *in, struct raft_conf_change *change, uint32_t at) {
    uint8_t kind = decode_u8(in);
    if (kind > RAFT_CONF_ADD_LEARNER) return false;
    change->changes[at].kind = (enum raft_conf_change_kind)kind;
    change->changes[at].id = decode_varint(in);
    return !in->failed;
}

static bool decode_many(struct decoder *in, struct raft_conf_change *change) {
    uint8_t transition = decode_u8(in);
    uint64_t count = decode_varint(in);
    if (in->failed || transition > RAFT_TRANSITION_EXPLICIT || count > RAFT_REPLICAS_MAX) {
        return false;
    }
    change->transition = (enum raft_conf_transition)transition;
    change->count = (uint32_t)count;
    for (uint32_t at = 0; at < change->count; at++) {
        if (!decode_one(in, change, at)) return false;
    }
    return true;
}

enum status raft_decode_conf_change(const struct raft_entry *entry,
                                    struct raft_conf_change *ret_change) {
    struct raft_conf_change change = {.transition = RAFT_TRANSITION_AUTO};
    struct slice bytes = payload_slice(entry->payload);
    struct decoder in = decoder_make(bytes);
    if (entry->kind == RAFT_ENTRY_CONF_CHANGE) {
        change.v1 = true;
        change.count = 1;
        if (!decode_one(&in, &change, 0)) return STATUS_CORRUPTION;
    } else if (entry->kind != RAFT_ENTRY_CONF_CHANGE_V2) {
        return STATUS_CORRUPTION;
    } else if (bytes.len > 0 && !decode_many(&in, &change)) {
        return STATUS_CORRUPTION;
    }
    change.context = decode_fixed(&in, decoder_left(&in));
    *ret_change = change;
    return STATUS_OK;
}

bool raft_conf_change_pending(const struct raft *raft) {
    return raft->pending_conf_index > raft->log.applied;
}

enum status raft_vet_conf_change(struct raft *raft, struct raft_entry *entry, uint64_t index) {
    struct raft_conf_change change;
    enum status status = raft_decode_conf_change(entry, &change);
    if (status != STATUS_OK) return status;
    struct raft_conf_edit edit;
    bool allowed = !raft_conf_change_pending(raft) &&
                   raft_conf_apply(&raft->conf, &change, &edit) == STATUS_OK;
    if (allowed || raft->config.conf_change_unchecked) {
        raft->pending_conf_index = index;
    } else {
        entry->kind = RAFT_ENTRY_NORMAL;
        entry->payload = NULL; /* borrowed: its owner drops it */
    }
    return STATUS_OK;
}

enum status raft_propose_conf_change(struct raft *raft, const struct raft_conf_change *change,
                                     struct raft_log_id *ret_id) {
    if (change->count > RAFT_REPLICAS_MAX || (change->v1 && change->count != 1)) {
        return STATUS_INVALID;
    }
    struct payload *payload = encode_change(change);
    struct raft_entry entry = {.kind =
                                   change->v1 ? RAFT_ENTRY_CONF_CHANGE : RAFT_ENTRY_CONF_CHANGE_V2,
                               .payload = payload};
    enum status status;
    if (raft->role == RAFT_LEADER) {
        status = raft_propose_entries(raft, &entry, 1);
    } else {
        status = raft_forward_proposal(raft, &entry);
    }
    if (status == STATUS_OK && ret_id) *ret_id = entry.id; /* {0,0} when forwarded */
    payload_unref(payload);
    return status;
}

void raft_switch_configuration(struct raft *raft, const struct raft_conf_edit *edit) {
    raft->conf = edit->conf;
    raft_progress_set_follow(&raft->progress, edit, raft->log.last.index,
                             &(struct raft_progress_limits){raft->config.inflight_messages_max,
                                                            raft->config.inflight_bytes_max});
    if (raft->role != RAFT_LEADER) return;
    const struct raft_progress *own = raft_progress_of(raft, raft->config.id);
    if (!own || own->learner) {
        if (!raft->config.lead_after_removal) {
            raft_become_follower(raft, raft->term, RAFT_NO_REPLICA);
        }
        return;
    }
    /* A smaller quorum may have more in common already; new followers are probed at once. */
    if (raft_maybe_commit(raft)) {
        raft_release_early_reads(raft);
        raft_broadcast_append(raft);
    } else {
        for (uint32_t at = 0; at < raft->progress.count; at++) {
            struct raft_progress *progress = &raft->progress.items[at];
            if (progress->id == raft->config.id) continue;
            (void)raft_maybe_send_append(raft, progress, false); /* paused: it is told later */
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
        /* The leader let it pass unchecked. The same nothing happens on every replica. */
        log_error("raft_conf_change_void", "%s status=%s",
                  raft->config.log_prefix ? raft->config.log_prefix : "", status_name(status));
    }
    if (ret_conf) *ret_conf = raft->conf;
}

/* Leaves an automatic joint configuration once it is applied (4.3). Refused during a transfer: then
 * the next applied entry, or the next leader, asks again. */
void raft_maybe_auto_leave(struct raft *raft) {
    if (!raft->conf.auto_leave || raft->role != RAFT_LEADER) return;
    if (raft_conf_change_pending(raft)) return;
    struct raft_entry leave = {.kind = RAFT_ENTRY_CONF_CHANGE_V2};
    (void)raft_propose_entries(raft, &leave, 1);
}
