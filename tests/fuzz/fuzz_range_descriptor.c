/* Any bytes as a range descriptor: what was decoded is sound enough to be encoded again, to the
 * same bytes; what was not leaves nothing behind. */
#include "base/assert.h"
#include "range/descriptor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct range_descriptor descriptor = {0}, copy = {0};
    struct buf again = {0};
    struct decoder in = decoder_make(slice_make(data, size));
    if (range_descriptor_decode(&in, &descriptor) == STATUS_OK) {
        size_t taken = size - decoder_left(&in);
        range_descriptor_encode(&again, &descriptor);
        ASSERT(slice_equal(slice_from_buf(&again), slice_make(data, taken)));
        range_descriptor_copy(&copy, &descriptor);
        ASSERT(range_descriptor_equal(&copy, &descriptor));
        ASSERT(range_descriptor_contains(&descriptor, slice_from_buf(&descriptor.start)));
        ASSERT(range_descriptor_covers(&descriptor, slice_from_buf(&descriptor.start),
                                       slice_from_buf(&descriptor.end)));
    } else {
        ASSERT(descriptor.start.data == NULL && descriptor.end.data == NULL);
    }
    range_descriptor_done(&descriptor);
    range_descriptor_done(&copy);
    buf_done(&again);
    return 0;
}
