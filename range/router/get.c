/* GET: any number of keys over any ranges. The keys are sorted once; a part is a run of them that
 * lies in one range as believed at its dispatch, and is cut again when the range turns out smaller
 * or the node answers only the first few. */
#include <stdlib.h>

#include "base/log.h"
#include "range/router/internal.h"

static int compare_keys(const void *a, const void *b, void *keys_ctx) {
    const struct slice *keys = keys_ctx;
    return slice_compare(keys[*(const uint32_t *)a], keys[*(const uint32_t *)b]);
}

static bool check_keys(struct router_call *call, const struct router_request *request) {
    struct buf error = {0};
    if (request->key_count == 0 || request->key_count > RANGE_GET_KEYS_MAX) {
        buf_printf(&error, "%u keys are asked for; a request has 1 to %u", request->key_count,
                   RANGE_GET_KEYS_MAX);
    }
    for (uint32_t i = 0; error.len == 0 && i < request->key_count; i++) {
        struct slice key = request->keys[i];
        if (key.len == 0) {
            buf_printf(&error, "key %u is empty; keys have 1 to %u bytes", i, TXN_KEY_BYTES_MAX);
        } else if (key.len > TXN_KEY_BYTES_MAX) {
            buf_printf(&error, "key %u (%s) has %zu bytes; the limit is %u", i, log_bytes(key),
                       key.len, TXN_KEY_BYTES_MAX);
        }
    }
    bool sound = error.len == 0;
    if (!sound) router_call_fail(call, ROUTER_INVALID, slice_from_buf(&error));
    buf_done(&error);
    return sound;
}

bool router_get_begin(struct router_call *call, const struct router_request *request) {
    if (!check_keys(call, request)) return false;
    uint32_t count = request->key_count;
    call->read_mode = request->read_mode;
    call->key_count = count;
    call->keys = ARENA_NEW_ARRAY(&call->arena, struct slice, count);
    call->order = ARENA_NEW_ARRAY(&call->arena, uint32_t, count);
    call->rows = ARENA_NEW_ARRAY(&call->arena, struct range_row, count);
    for (uint32_t i = 0; i < count; i++) {
        call->keys[i] = arena_copy(&call->arena, request->keys[i]);
        call->order[i] = i;
    }
    if (count > 1) qsort_r(call->order, count, sizeof(uint32_t), compare_keys, call->keys);
    router_part_new(call)->last = count;
    return true;
}

void router_get_fit(struct router_part *part, const struct route *route) {
    struct router_call *call = part->call;
    size_t bytes = 0;
    uint32_t end = part->first;
    while (end < part->last) {
        struct slice key = call->keys[call->order[end]];
        bytes += key.len;
        if (!range_descriptor_contains(&route->descriptor, key)) break;
        if (end > part->first && bytes > ROUTER_GET_BYTES_MAX) break;
        end++;
    }
    ASSERT_CMP(end, >, part->first);
    if (end == part->last) return;
    struct router_part *rest = router_part_new(call);
    rest->first = end;
    rest->last = part->last;
    part->last = end;
    router_part_ready(rest);
}

static void keep_rows(struct router_call *call, const struct router_part *part, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct range_row *row = &call->rows[call->order[part->first + i]];
        row->value = arena_copy(&call->arena, row->value);
    }
    router_call_charge(call);
}

enum status router_get_reply(struct router_part *part, const struct range_reply *reply) {
    struct router_call *call = part->call;
    uint32_t count = reply->row_count;
    if (count == 0 || count > part->last - part->first) return STATUS_CORRUPTION;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = call->order[part->first + i];
        call->rows[index] = reply->rows[i];
        call->rows[index].key = call->keys[index];
        call->row_bytes += reply->rows[i].value.len;
    }
    call->answered += count;
    if (call->row_bytes > ROUTER_REPLY_BYTES_MAX) {
        struct buf text = {0};
        buf_printf(&text, "the values of the %u keys exceed %u bytes together; ask for fewer keys",
                   call->key_count, ROUTER_REPLY_BYTES_MAX);
        router_call_fail(call, ROUTER_INVALID, slice_from_buf(&text));
        buf_done(&text);
        return STATUS_OK;
    }
    if (call->answered == call->key_count) {
        struct router_reply done = {.code = ROUTER_OK,
                                    .row_count = call->key_count,
                                    .rows = call->rows,
                                    .as_of = call->as_of};
        router_call_finish(call, &done);
        return STATUS_OK;
    }
    keep_rows(call, part, count);
    part->first += count;
    if (part->first < part->last) {
        router_part_ready(part);
    } else {
        router_part_free(part);
    }
    return STATUS_OK;
}
