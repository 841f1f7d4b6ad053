/* Any bytes as a replica record, tombstones included: what was decoded encodes to the same bytes.
 */
#include "base/assert.h"
#include "range/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct range_replica_record record;
    struct buf again = {0};
    if (range_replica_record_decode(slice_make(data, size), &record) != STATUS_OK) return 0;
    range_replica_record_encode(&again, &record);
    ASSERT(slice_equal(slice_from_buf(&again), slice_make(data, size)));
    range_descriptor_done(&record.descriptor);
    buf_done(&again);
    return 0;
}
