/* ReadIndex (thesis 6.4): a leader that a quorum still follows after the request came knows every
 * write that was acknowledged before. One heartbeat round serves all requests that wait. */
#include "base/assert.h"
#include "base/memory.h"
#include "raft/internal.h"

static uint32_t waiting(const struct raft_reads *reads) {
    return reads->count - reads->head;
}

static bool push(struct raft_reads *reads, struct raft_read_request request) {
    if (waiting(reads) >= RAFT_READS_MAX) return false;
    if (reads->head == reads->count) reads->head = reads->count = 0;
    if (reads->count == reads->cap) {
        reads->cap = reads->cap ? reads->cap * 2 : 8;
        reads->items = memory_realloc(reads->items, reads->cap * sizeof(*reads->items));
    }
    reads->items[reads->count++] = request;
    return true;
}

static void forget(struct raft_reads *reads) {
    if (reads->cap > RAFT_KEPT_ITEMS_MAX) {
        memory_free(reads->items);
        reads->items = NULL;
        reads->cap = 0;
    }
    reads->head = reads->count = 0;
    reads->confirmed = 0;
    reads->round_wanted = false;
}

void raft_reads_clear(struct raft *raft) {
    forget(&raft->reads);
    forget(&raft->early_reads);
}

void raft_reads_done(struct raft *raft) {
    memory_free(raft->reads.items);
    memory_free(raft->early_reads.items);
    raft->reads = raft->early_reads = (struct raft_reads){0};
}

uint64_t raft_reads_position(const struct raft *raft) {
    const struct raft_reads *reads = &raft->reads;
    return waiting(reads) ? reads->confirmed + waiting(reads) : 0;
}

bool raft_committed_in_term(const struct raft *raft) {
    return raft_core_log_term_or_zero(&raft->log, raft->log.committed) == raft->term;
}

static void answer(struct raft *raft, const struct raft_read_request *request) {
    if (request->from == raft->config.id) {
        raft_read_state_list_add(&raft->read_states[raft->outbox_filling],
                                 (struct raft_read_state){request->context, request->commit});
    } else {
        raft_send(raft, (struct raft_message){.kind = RAFT_MSG_READ_INDEX_RESPONSE,
                                              .to = request->from,
                                              .log = {0, request->commit},
                                              .context = request->context});
    }
}

/* A fresh leader does not know how far its predecessors had committed before it has committed an
 * entry of its own term; until then requests wait. */
enum status raft_accept_read(struct raft *raft, uint64_t from, uint64_t context) {
    struct raft_read_request request = {from, context, raft->log.committed};
    if (!raft_committed_in_term(raft)) {
        return push(&raft->early_reads, request) ? STATUS_OK : STATUS_BUSY;
    }
    if (raft_conf_state_is_singleton(&raft->conf) &&
        raft_id_set_has(&raft->conf.voters, raft->config.id)) {
        answer(raft, &request);
        return STATUS_OK;
    }
    if (!push(&raft->reads, request)) return STATUS_BUSY;
    raft->reads.round_wanted = true;
    return STATUS_OK;
}

void raft_release_early_reads(struct raft *raft) {
    struct raft_reads *early = &raft->early_reads;
    if (waiting(early) == 0 || !raft_committed_in_term(raft)) return;
    for (; early->head < early->count; early->head++) {
        const struct raft_read_request *request = &early->items[early->head];
        /* Full: its owner asks again after its time-out. */
        (void)raft_accept_read(raft, request->from, request->context);
    }
    forget(early);
}

static uint64_t position_acked(const void *ctx, uint64_t id) {
    const struct raft *raft = ctx;
    if (id == raft->config.id) return raft_reads_position(raft);
    const struct raft_progress *progress = raft_progress_of(raft, id);
    return progress ? progress->read_acked : 0;
}

void raft_confirm_reads(struct raft *raft) {
    struct raft_reads *reads = &raft->reads;
    uint64_t acked =
        raft_quorum_acked(&raft->conf.voters, &raft->conf.voters_outgoing, position_acked, raft);
    while (waiting(reads) > 0 && reads->confirmed < acked) {
        answer(raft, &reads->items[reads->head++]);
        reads->confirmed++;
    }
}

enum status raft_read_index(struct raft *raft, uint64_t context) {
    ASSERT_CMP(context, !=, 0);
    struct raft_message message = {.kind = RAFT_MSG_READ_INDEX,
                                   .from = raft->config.id,
                                   .to = raft->config.id,
                                   .context = context};
    return raft_step(raft, &message);
}
