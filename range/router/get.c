/* GET: any number of keys over any ranges. The keys are sorted once; a part is a run of them that
 * lies in one range as believed at its dispatch, and is cut again when the range turns out smaller
 * or the node answers only the first few.
 *
 * When the values get too large for one answer, it will be one for the first keys of the request
 * only: fewer are wanted from then on, at most half as many if some of them are still to be read,
 * so that what is read in vain stays within a few answers. */
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
    call->key_count = call->wanted = count;
    call->keys = ARENA_NEW_ARRAY(&call->arena, struct slice, count);
    call->order = ARENA_NEW_ARRAY(&call->arena, uint32_t, count);
    call->rows = ARENA_NEW_ARRAY(&call->arena, struct range_row, count);
    for (uint32_t i = 0; i < count; i++) {
        call->keys[i] = arena_copy(&call->arena, request->keys[i]);
        call->order[i] = i;
        call->rows[i] = (struct range_row){0};
    }
    if (count > 1) qsort_r(call->order, count, sizeof(uint32_t), compare_keys, call->keys);
    router_part_new(call)->last = count;
    return true;
}

bool router_get_trim(struct router_part *part) {
    const struct router_call *call = part->call;
    if (call->wanted == call->key_count) return true;
    uint32_t kept = part->first;
    for (uint32_t i = part->first; i < part->last; i++)
        if (call->order[i] < call->wanted) call->order[kept++] = call->order[i];
    part->last = kept;
    if (part->first < part->last) return true;
    router_part_free(part);
    return false;
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

static bool is_answered(const struct range_row *row) {
    return row->key.len > 0;
}

static size_t row_bytes(const struct range_row *row) {
    return RANGE_ROW_BYTES + row->value.len;
}

/* The rows borrow from the reply. */
static void take_rows(struct router_call *call, const struct router_part *part,
                      const struct range_reply *reply) {
    for (uint32_t i = 0; i < reply->row_count; i++) {
        uint32_t index = call->order[part->first + i];
        if (index >= call->wanted) continue;
        call->rows[index] = reply->rows[i];
        call->rows[index].key = call->keys[index];
        call->row_bytes += row_bytes(&call->rows[index]);
        call->answered++;
    }
}

static void keep_rows(struct router_call *call, const struct router_part *part, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = call->order[part->first + i];
        struct range_row *row = &call->rows[index];
        if (index < call->wanted) row->value = arena_copy(&call->arena, row->value);
    }
    router_call_charge(call);
}

/* As many of the first keys as fit, by what is known of their values. */
static uint32_t count_fitting(const struct router_call *call, bool *ret_all_answered) {
    size_t bytes = 0;
    uint32_t count = 0;
    *ret_all_answered = true;
    for (; count < call->wanted; count++) {
        const struct range_row *row = &call->rows[count];
        if (is_answered(row)) bytes += row_bytes(row);
        if (bytes > ROUTER_REPLY_BYTES_MAX) break;
        if (!is_answered(row)) *ret_all_answered = false;
    }
    return count;
}

static void want_fewer(struct router_call *call) {
    bool all_answered = true;
    uint32_t wanted = count_fitting(call, &all_answered);
    if (!all_answered && wanted > call->wanted / 2) wanted = call->wanted / 2;
    ASSERT_CMP(wanted, >, 0); /* the first row fits, and of two rows both do */
    call->wanted = wanted;
    call->answered = 0;
    call->row_bytes = 0;
    for (uint32_t i = 0; i < wanted; i++) {
        if (!is_answered(&call->rows[i])) continue;
        call->answered++;
        call->row_bytes += row_bytes(&call->rows[i]);
    }
}

enum status router_get_reply(struct router_part *part, const struct range_reply *reply) {
    struct router_call *call = part->call;
    uint32_t count = reply->row_count;
    if (count == 0 || count > part->last - part->first) return STATUS_CORRUPTION;
    take_rows(call, part, reply);
    if (call->row_bytes > ROUTER_REPLY_BYTES_MAX) want_fewer(call);
    if (call->answered == call->wanted) {
        struct router_reply done = {
            .code = ROUTER_OK, .row_count = call->wanted, .rows = call->rows, .as_of = call->as_of};
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
