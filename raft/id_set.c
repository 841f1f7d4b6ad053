#include "raft/id_set.h"

/* Position of the first id that is not below `id`. Sets are tiny: a linear walk is the fastest. */
static uint32_t lower_bound(const struct raft_id_set *set, uint64_t id) {
    uint32_t at = 0;
    while (at < set->count && set->ids[at] < id) {
        at++;
    }
    return at;
}

bool raft_id_set_has(const struct raft_id_set *set, uint64_t id) {
    uint32_t at = lower_bound(set, id);
    return at < set->count && set->ids[at] == id;
}

bool raft_id_set_add(struct raft_id_set *set, uint64_t id) {
    uint32_t at = lower_bound(set, id);
    if (at < set->count && set->ids[at] == id) return true;
    if (set->count == RAFT_REPLICAS_MAX) return false;
    memmove(&set->ids[at + 1], &set->ids[at], (set->count - at) * sizeof(set->ids[0]));
    set->ids[at] = id;
    set->count++;
    return true;
}

void raft_id_set_remove(struct raft_id_set *set, uint64_t id) {
    uint32_t at = lower_bound(set, id);
    if (at == set->count || set->ids[at] != id) return;
    set->count--;
    memmove(&set->ids[at], &set->ids[at + 1], (set->count - at) * sizeof(set->ids[0]));
}

bool raft_id_set_equal(const struct raft_id_set *a, const struct raft_id_set *b) {
    return a->count == b->count && memcmp(a->ids, b->ids, a->count * sizeof(a->ids[0])) == 0;
}

bool raft_id_set_valid(const struct raft_id_set *set) {
    if (set->count > RAFT_REPLICAS_MAX) return false;
    for (uint32_t at = 0; at < set->count; at++) {
        if (set->ids[at] == RAFT_NO_REPLICA) return false;
        if (at > 0 && set->ids[at - 1] >= set->ids[at]) return false;
    }
    return true;
}
