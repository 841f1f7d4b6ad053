/* Linearizable reads without log entries (thesis 6.4): the commit index of the moment the request
 * came is safe to read at, once a quorum has confirmed that there was no newer leader then.
 *
 * R1  A leader serves no read before it has committed an entry of its own term: until then its
 *     commit index may be behind what an earlier leader acknowledged.
 * R2  A heartbeat carries the position of the newest request before it; an answer confirms all
 *     requests up to that position, by voters of the current configuration, both halves.
 * R3  Requests of one turn share one round; a lost round is repeated by the next heartbeat. */
#include "base/assert.h"
#include "base/memory.h"
#include "raft/internal.h"

static void push(struct raft_reads *reads, struct raft_read_request request) {
    if (reads->count == reads->cap && reads->head > 0) {
        reads->count -= reads->head;
        memmove(reads->items, reads->items + reads->head, reads->count * sizeof(*reads->items));
        reads->head = 0;
    }
    if (reads->count == reads->cap) {
        reads->cap = reads->cap ? reads->cap * 2 : 8;
        reads->items = memory_realloc(reads->items, reads->cap * sizeof(*reads->items));
    }
    reads->items[reads->count++] = request;
}

static uint32_t waiting(const struct raft_reads *reads) {
    return reads->count - reads->head;
}

static void release_memory(struct raft_reads *reads, uint32_t kept_cap) {
    if (waiting(reads) > 0) return;
    reads->head = reads->count = 0;
    if (reads->cap <= kept_cap) return;
    memory_free(reads->items);
    reads->items = NULL;
    reads->cap = 0;
}

static void clear(struct raft_reads *reads) {
    reads->head = reads->count;
    release_memory(reads, RAFT_KEPT_ITEMS_MAX);
    reads->confirmed = 0;
    reads->round_wanted = false;
}

void raft_reads_clear(struct raft *raft) {
    clear(&raft->reads);
    clear(&raft->early_reads);
}

void raft_reads_done(struct raft *raft) {
    memory_free(raft->reads.items);
    memory_free(raft->early_reads.items);
    raft->reads = raft->early_reads = (struct raft_reads){0};
}

void raft_reads_shrink(struct raft *raft) {
    release_memory(&raft->reads, 0);
    release_memory(&raft->early_reads, 0);
}

bool raft_committed_in_term(const struct raft *raft) {
    return raft_core_log_term_or_zero(&raft->log, raft->log.committed) == raft->term;
}

static void answer(struct raft *raft, const struct raft_read_request *request) {
    if (request->from == raft->config.id) {
        raft_read_state_list_add(&raft->read_states[raft->outbox_filling],
                                 (struct raft_read_state){request->context, request->commit});
        return;
    }
    raft_send(raft, (struct raft_message){.kind = RAFT_MSG_READ_INDEX_RESPONSE,
                                          .to = request->from,
                                          .context = request->context,
                                          .log = {.index = request->commit}});
}

static void accept_in_term(struct raft *raft, struct raft_read_request request) {
    request.commit = raft->log.committed;
    if (raft->config.read_mode == RAFT_READ_LEASE && raft_lease_valid(raft)) {
        answer(raft, &request);
        return;
    }
    push(&raft->reads, request);
    raft_confirm_reads(raft); /* a quorum of one asks nobody */
    raft->reads.round_wanted = waiting(&raft->reads) > 0;
}

enum status raft_accept_read(struct raft *raft, uint64_t from, uint64_t context) {
    ASSERT(raft->role == RAFT_LEADER);
    raft_unquiesce(raft);
    if (waiting(&raft->reads) + waiting(&raft->early_reads) >= RAFT_READS_MAX) return STATUS_BUSY;
    struct raft_read_request request = {.from = from, .context = context};
    if (raft_committed_in_term(raft)) {
        accept_in_term(raft, request);
    } else {
        push(&raft->early_reads, request);
    }
    return STATUS_OK;
}

void raft_release_early_reads(struct raft *raft) {
    struct raft_reads *early = &raft->early_reads;
    if (waiting(early) == 0 || !raft_committed_in_term(raft)) return;
    while (early->head < early->count) {
        accept_in_term(raft, early->items[early->head++]);
    }
    release_memory(early, RAFT_KEPT_ITEMS_MAX);
}

uint64_t raft_reads_position(const struct raft *raft) {
    uint32_t count = waiting(&raft->reads);
    return count ? raft->reads.confirmed + count : 0;
}

static uint64_t read_acked_of(const void *ctx, uint64_t id) {
    const struct raft *raft = ctx;
    if (id == raft->config.id) return raft_reads_position(raft);
    const struct raft_progress *progress = raft_progress_of(raft, id);
    return progress ? progress->read_acked : 0;
}

void raft_confirm_reads(struct raft *raft) {
    struct raft_reads *reads = &raft->reads;
    uint64_t newest = raft_reads_position(raft);
    uint64_t acked =
        raft_quorum_acked(&raft->conf.voters, &raft->conf.voters_outgoing, read_acked_of, raft);
    if (acked > newest) acked = newest; /* only positions that were given out */
    while (reads->confirmed < acked) {
        answer(raft, &reads->items[reads->head]);
        reads->head++;
        reads->confirmed++;
    }
    release_memory(reads, RAFT_KEPT_ITEMS_MAX);
}

enum status raft_read_index(struct raft *raft, uint64_t context) {
    ASSERT_CMP(context, !=, 0);
    if (raft->role == RAFT_LEADER) return raft_accept_read(raft, raft->config.id, context);
    if (raft->role != RAFT_FOLLOWER || raft->leader == RAFT_NO_REPLICA) return STATUS_DROPPED;
    raft_unquiesce(raft);
    raft_send(raft, (struct raft_message){
                        .kind = RAFT_MSG_READ_INDEX, .to = raft->leader, .context = context});
    return STATUS_OK;
}
