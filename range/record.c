#include "range/record.h"

#include "base/assert.h"
#include "raft/id_set.h"
#include "raft/message_codec.h"

#define RECORD_VERSION 1u
#define FLAG_TOMBSTONE 1u

void range_record_key(uint8_t key[RANGE_RECORD_KEY_BYTES], uint64_t range_id) {
    key[0] = 0x00;
    key[1] = 'r';
    for (int i = 0; i < 8; i++)
        key[2 + i] = (uint8_t)(range_id >> (56 - 8 * i));
}

struct slice range_record_begin(void) {
    static const uint8_t begin[] = {0x00, 'r'};
    return slice_make(begin, sizeof(begin));
}

struct slice range_record_end(void) {
    static const uint8_t end[] = {0x00, 'r' + 1};
    return slice_make(end, sizeof(end));
}

void range_replica_record_encode(struct buf *out, const struct range_replica_record *record) {
    encode_u8(out, RECORD_VERSION);
    encode_u8(out, record->tombstone ? FLAG_TOMBSTONE : 0);
    encode_varint(out, record->replica_id);
    range_descriptor_encode(out, &record->descriptor);
    raft_encode_conf_state(out, &record->conf);
    if (!record->tombstone) return;
    encode_varint(out, record->committed.index);
    encode_varint(out, record->committed.term);
}

enum status range_replica_record_decode(struct slice bytes,
                                        struct range_replica_record *ret_record) {
    struct decoder in = decoder_make(bytes);
    uint8_t version = decode_u8(&in);
    if (!in.failed && version != RECORD_VERSION) return STATUS_UNSUPPORTED;
    struct range_replica_record record = {0};
    uint8_t flags = decode_u8(&in);
    record.tombstone = (flags & FLAG_TOMBSTONE) != 0;
    record.replica_id = decode_varint(&in);
    enum status status = range_descriptor_decode(&in, &record.descriptor);
    if (status == STATUS_OK) status = raft_decode_conf_state(&in, &record.conf);
    if (status == STATUS_OK && record.tombstone) {
        record.committed.index = decode_varint(&in);
        record.committed.term = decode_varint(&in);
    }
    bool sane = decoder_finished(&in) && flags <= FLAG_TOMBSTONE && record.replica_id != 0;
    struct raft_conf_state conf = range_conf_from_descriptor(&record.descriptor);
    sane = sane && range_conf_equal(&conf, &record.conf);
    if (status == STATUS_OK && !sane) status = STATUS_CORRUPTION;
    if (status != STATUS_OK) {
        range_descriptor_done(&record.descriptor);
        return status;
    }
    *ret_record = record;
    return STATUS_OK;
}

void range_apply_state_encode(struct buf *out, const struct range_apply_state *state) {
    encode_u8(out, RECORD_VERSION);
    encode_u64(out, state->applied.index);
    encode_u64(out, state->applied.term);
    encode_u64(out, state->truncated.index);
    encode_u64(out, state->truncated.term);
    encode_u64(out, state->last_commit_ts);
}

bool range_apply_state_sane(const struct range_apply_state *state) {
    return state->truncated.index <= state->applied.index &&
           state->truncated.term <= state->applied.term;
}

enum status range_apply_state_decode(struct slice bytes, struct range_apply_state *ret_state) {
    struct decoder in = decoder_make(bytes);
    uint8_t version = decode_u8(&in);
    if (!in.failed && version != RECORD_VERSION) return STATUS_UNSUPPORTED;
    struct range_apply_state state;
    state.applied.index = decode_u64(&in);
    state.applied.term = decode_u64(&in);
    state.truncated.index = decode_u64(&in);
    state.truncated.term = decode_u64(&in);
    state.last_commit_ts = decode_u64(&in);
    if (!decoder_finished(&in) || !range_apply_state_sane(&state)) return STATUS_CORRUPTION;
    *ret_state = state;
    return STATUS_OK;
}

/* Raft keeps its sets sorted; a descriptor lists replicas in the order they joined. */
static void id_set_insert(struct raft_id_set *set, uint64_t id) {
    ASSERT_CMP(set->count, <, RAFT_REPLICAS_MAX);
    uint32_t at = set->count;
    while (at > 0 && set->ids[at - 1] > id) {
        set->ids[at] = set->ids[at - 1];
        at--;
    }
    set->ids[at] = id;
    set->count++;
}

static void add_replica(struct raft_conf_state *conf, const struct range_replica_ref *replica,
                        bool joint) {
    uint64_t id = replica->replica_id;
    switch (replica->role) {
    case RANGE_VOTER:
        id_set_insert(&conf->voters, id);
        if (joint) id_set_insert(&conf->voters_outgoing, id);
        break;
    case RANGE_LEARNER:
        id_set_insert(&conf->learners, id);
        break;
    case RANGE_VOTER_INCOMING:
        id_set_insert(&conf->voters, id);
        break;
    case RANGE_VOTER_DEMOTING:
        id_set_insert(&conf->learners_next, id);
        id_set_insert(&conf->voters_outgoing, id);
        break;
    case RANGE_VOTER_OUTGOING:
        id_set_insert(&conf->voters_outgoing, id);
        break;
    }
}

struct raft_conf_state range_conf_from_descriptor(const struct range_descriptor *descriptor) {
    /* Joint configurations are always of the kind that is left by itself. */
    struct raft_conf_state conf = {.auto_leave = descriptor->joint};
    for (uint32_t i = 0; i < descriptor->replica_count; i++)
        add_replica(&conf, &descriptor->replicas[i], descriptor->joint);
    return conf;
}

bool range_conf_equal(const struct raft_conf_state *a, const struct raft_conf_state *b) {
    return raft_id_set_equal(&a->voters, &b->voters) &&
           raft_id_set_equal(&a->voters_outgoing, &b->voters_outgoing) &&
           raft_id_set_equal(&a->learners, &b->learners) &&
           raft_id_set_equal(&a->learners_next, &b->learners_next) &&
           a->auto_leave == b->auto_leave;
}
