/* Reference counts of shared immutable bytes. */
#include "base/payload.h"

#include "base/assert.h"
#include "base/memory.h"

struct payload *payload_new(size_t len) {
    ASSERT_CMP(len, <=, UINT32_MAX);
    struct payload *payload = memory_alloc(sizeof(struct payload) + len);
    atomic_init(&payload->refs, 1);
    payload->len = (uint32_t)len;
    return payload;
}

struct payload *payload_copy(struct slice bytes) {
    struct payload *payload = payload_new(bytes.len);
    if (bytes.len > 0) memcpy(payload->data, bytes.data, bytes.len);
    return payload;
}

struct payload *payload_ref(struct payload *payload) {
    if (!payload) return NULL;
    /* Whoever hands out a reference holds one, so nothing has to be ordered here. */
    uint32_t before = atomic_fetch_add_explicit(&payload->refs, 1, memory_order_relaxed);
    ASSERT_CMP(before, >, 0);
    ASSERT_CMP(before, <, UINT32_MAX);
    return payload;
}

void payload_unref(struct payload *payload) {
    if (!payload) return;
    /* The last holder must see everything the others did before they let go. */
    uint32_t before = atomic_fetch_sub_explicit(&payload->refs, 1, memory_order_acq_rel);
    ASSERT_CMP(before, >, 0);
    if (before == 1) memory_free(payload);
}
