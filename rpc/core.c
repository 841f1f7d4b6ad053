/* Helpers over the gRPC core: bytes, deadlines, targets. */
#include "rpc/core.h"

#include <arpa/inet.h>
#include <grpc/support/time.h>

#include "base/assert.h"

void rpc_start_batch(grpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag) {
    grpc_call_error error = grpc_call_start_batch(call, ops, count, tag, NULL);
    if (error != GRPC_CALL_OK)
        fatal("grpc_call_start_batch refused a batch: %s", grpc_call_error_to_string(error));
}

void rpc_bytes_open(struct rpc_bytes *bytes, grpc_byte_buffer *buffer) {
    *bytes = (struct rpc_bytes){0};
    if (!buffer) return;
    const grpc_slice_buffer *slices = &buffer->data.raw.slice_buffer;
    if (slices->count == 0) return;
    if (slices->count == 1) {
        bytes->view = rpc_slice_view(&slices->slices[0]);
        return;
    }
    bytes->joined = grpc_slice_malloc(slices->length);
    bytes->is_joined = true;
    uint8_t *at = GRPC_SLICE_START_PTR(bytes->joined);
    for (size_t i = 0; i < slices->count; i++) {
        struct slice part = rpc_slice_view(&slices->slices[i]);
        if (part.len > 0) memcpy(at, part.data, part.len);
        at += part.len;
    }
    bytes->view = rpc_slice_view(&bytes->joined);
}

void rpc_bytes_close(struct rpc_bytes *bytes) {
    if (bytes->is_joined) grpc_slice_unref(bytes->joined);
    *bytes = (struct rpc_bytes){0};
}

grpc_slice rpc_slice_join(const struct slice *parts, size_t count, size_t len) {
    grpc_slice joined = grpc_slice_malloc(len);
    uint8_t *at = GRPC_SLICE_START_PTR(joined);
    for (size_t i = 0; i < count; i++) {
        if (parts[i].len > 0) memcpy(at, parts[i].data, parts[i].len);
        at += parts[i].len;
    }
    ASSERT_CMP(at - GRPC_SLICE_START_PTR(joined), ==, len);
    return joined;
}

/* Beyond this a deadline means none; it keeps the sums far from the end of 64 bits. */
#define TIMEOUT_US_MAX ((uint64_t)366 * 24 * 3600 * 1000 * 1000)

gpr_timespec rpc_deadline_from_timeout(uint64_t timeout_us) {
    if (timeout_us > TIMEOUT_US_MAX) return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_micros((int64_t)timeout_us, GPR_TIMESPAN));
}

uint64_t rpc_timeout_from_deadline(gpr_timespec deadline) {
    if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) return UINT64_MAX;
    gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
    if (left.tv_sec < 0) return 0;
    if ((uint64_t)left.tv_sec > TIMEOUT_US_MAX / 1000000) return UINT64_MAX;
    return (uint64_t)left.tv_sec * 1000000 + (uint64_t)left.tv_nsec / 1000;
}

void rpc_target_from_address(struct buf *target, const char *address) {
    const char *colon = strchr(address, ':'); /* of the first, if there are several */
    char host[INET6_ADDRSTRLEN + 1];
    size_t host_len = colon ? (size_t)(colon - address) : strlen(address);
    const char *scheme = "dns:///";
    if (address[0] == '[') {
        scheme = "ipv6:";
    } else if (host_len < sizeof(host)) {
        struct in_addr parsed;
        memcpy(host, address, host_len);
        host[host_len] = '\0';
        if (inet_pton(AF_INET, host, &parsed) == 1) scheme = "ipv4:";
    }
    buf_clear(target);
    buf_printf(target, "%s%s", scheme, address);
    buf_append_byte(target, '\0');
}
