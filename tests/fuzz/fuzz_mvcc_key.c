/* Any bytes offered as a version key: decoding stays inside them, and what it accepts is exactly
 * what encoding produces, so that no two stored keys mean the same version. */
#include "base/assert.h"
#include "storage/mvcc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice input = slice_make(data, size);
    struct buf user_key = {0}, encoded = {0};
    uint64_t commit_ts = 0;
    if (mvcc_decode_version_key(input, &user_key, &commit_ts) == STATUS_OK) {
        mvcc_encode_version_key(&encoded, slice_from_buf(&user_key), commit_ts);
        ASSERT(slice_equal(slice_from_buf(&encoded), input));
    }
    /* And the other way round: the input as a user key. */
    struct buf decoded = {0};
    buf_clear(&encoded);
    mvcc_encode_key(&encoded, input);
    struct slice rest = slice_from_buf(&encoded);
    ASSERT(mvcc_decode_key(&rest, &decoded) == STATUS_OK);
    ASSERT_CMP(rest.len, ==, 0);
    ASSERT(slice_equal(slice_from_buf(&decoded), input));
    buf_done(&user_key);
    buf_done(&encoded);
    buf_done(&decoded);
    return 0;
}
