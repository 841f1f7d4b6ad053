/* Any bytes as the context of a change of replicas: what was decoded encodes to the bytes it came
 * from, and whatever it says, a descriptor that takes it is sound, one version on, with the
 * configuration that the Raft core has then; one that does not is untouched. */
#include "base/assert.h"
#include "raft/configuration.h"
#include "range/membership.h"
#include "range/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct range_descriptor three = {
    .range_id = 7,
    .epoch = {3, 1},
    .next_replica_id = 5,
    .replica_count = 3,
    .replicas = {{1, 1, RANGE_VOTER}, {2, 2, RANGE_VOTER}, {4, 3, RANGE_LEARNER}}};

static void advance(const struct raft_conf_change *change,
                    const struct range_membership *membership) {
    struct range_descriptor descriptor = three;
    struct raft_conf_state before = range_conf_from_descriptor(&three);
    if (!range_membership_advance(&descriptor, change, membership)) {
        ASSERT(range_descriptor_equal(&descriptor, &three));
        return;
    }
    struct raft_conf_edit edit;
    ASSERT(raft_conf_apply(&before, change, &edit) == STATUS_OK);
    struct raft_conf_state after = range_conf_from_descriptor(&descriptor);
    ASSERT(range_conf_equal(&after, &edit.conf));
    ASSERT_CMP(descriptor.epoch.conf_version, ==, three.epoch.conf_version + 1);
    struct buf bytes = {0};
    range_descriptor_encode(&bytes, &descriptor); /* asserts that it is sound */
    buf_done(&bytes);
}

/* First the core's change, as an entry holds it, then the context. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct raft_entry entry = {.kind = RAFT_ENTRY_CONF_CHANGE_V2,
                               .payload = payload_copy(slice_make(data, size))};
    struct raft_conf_change change;
    struct range_membership membership;
    if (raft_decode_conf_change(&entry, &change) == STATUS_OK &&
        range_membership_decode(change.context, &membership) == STATUS_OK) {
        struct buf again = {0};
        range_membership_encode(&again, &membership);
        ASSERT(slice_equal(slice_from_buf(&again), change.context));
        buf_done(&again);
        advance(&change, &membership);
    }
    payload_unref(entry.payload);
    return 0;
}
