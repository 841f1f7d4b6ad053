/* SCAN: rows of [start, end) in order, range after range, one piece at a time. What remains to be
 * read is always [call.start, call.end), so a piece that has to be asked again, of whichever range
 * by then, needs no special care. Each range is read at its own instant: a scan over several ranges
 * is not one consistent cut. */
#include "base/log.h"
#include "range/router/internal.h"

static bool check_bounds(struct router_call *call, const struct router_request *request) {
    struct buf error = {0};
    if (request->start.len > TXN_KEY_BYTES_MAX || request->end.len > TXN_KEY_BYTES_MAX) {
        buf_printf(&error, "a bound of the scan has %zu bytes; the limit is %u",
                   request->start.len > request->end.len ? request->start.len : request->end.len,
                   TXN_KEY_BYTES_MAX);
    } else if (request->end.len > 0 && slice_compare(request->start, request->end) >= 0) {
        buf_printf(&error, "the scan ends at %s, which is not after its start %s",
                   log_bytes(request->end), log_bytes(request->start));
    }
    bool sound = error.len == 0;
    if (!sound) router_call_fail(call, ROUTER_INVALID, slice_from_buf(&error));
    buf_done(&error);
    return sound;
}

static uint32_t limit_or_max(uint32_t limit, uint32_t max) {
    return limit == 0 || limit > max ? max : limit;
}

bool router_scan_begin(struct router_call *call, const struct router_request *request) {
    if (!check_bounds(call, request)) return false;
    call->read_mode = request->read_mode;
    call->start = arena_copy(&call->arena, request->start);
    call->end = arena_copy(&call->arena, request->end);
    call->reverse = request->reverse;
    call->keys_only = request->keys_only;
    call->row_limit = limit_or_max(request->row_limit, RANGE_SCAN_ROWS_MAX);
    call->byte_limit = limit_or_max(request->byte_limit, RANGE_REPLY_BYTES_MAX);
    (void)router_part_new(call); /* the call's list has it */
    return true;
}

void router_scan_fit(struct router_part *part, const struct route *route) {
    struct router_call *call = part->call;
    struct slice start = slice_from_buf(&route->descriptor.start);
    struct slice end = slice_from_buf(&route->descriptor.end);
    bool starts_here = slice_compare(call->start, start) >= 0;
    bool ends_here = end.len == 0 || (call->end.len > 0 && slice_compare(call->end, end) <= 0);
    call->piece_start = starts_here ? call->start : arena_copy(&call->arena, start);
    call->piece_end = ends_here ? call->end : arena_copy(&call->arena, end);
}

/* Rows of possible keys, inside the piece, in order, and no more than asked for. */
static bool rows_are_sound(const struct router_call *call, const struct range_reply *reply) {
    if (reply->row_count > call->row_limit - call->row_count) return false;
    if (reply->more && reply->row_count == 0) return false;
    for (uint32_t i = 0; i < reply->row_count; i++) {
        struct slice key = reply->rows[i].key;
        if (key.len == 0) return false; /* nobody can have written it */
        if (slice_compare(key, call->piece_start) < 0) return false;
        if (call->piece_end.len > 0 && slice_compare(key, call->piece_end) >= 0) return false;
        if (i == 0) continue;
        int order = slice_compare(reply->rows[i - 1].key, key);
        if (call->reverse ? order <= 0 : order >= 0) return false;
    }
    return true;
}

/* What remains begins after (reverse: ends before) what this reply covers. False: nothing remains.
 */
static bool advance(struct router_call *call, const struct range_reply *reply) {
    if (!reply->more) {
        bool last = call->reverse ? slice_equal(call->piece_start, call->start)
                                  : slice_equal(call->piece_end, call->end);
        if (call->reverse) {
            call->end = call->piece_start;
        } else {
            call->start = call->piece_end;
        }
        return !last;
    }
    struct slice key = reply->rows[reply->row_count - 1].key;
    if (call->reverse) {
        call->end = arena_copy(&call->arena, key);
    } else {
        uint8_t *next = arena_alloc(&call->arena, key.len + 1);
        memcpy(next, key.data, key.len);
        next[key.len] = 0; /* the smallest key after it */
        call->start = slice_make(next, key.len + 1);
    }
    return true;
}

static void keep_rows(struct router_call *call, const struct range_reply *reply) {
    uint32_t needed = call->row_count + reply->row_count;
    if (needed > call->row_cap) {
        uint32_t cap = needed > call->row_cap * 2 ? needed : call->row_cap * 2;
        struct range_row *rows = ARENA_NEW_ARRAY(&call->arena, struct range_row, cap);
        if (call->row_count > 0) memcpy(rows, call->rows, call->row_count * sizeof(*rows));
        call->rows = rows;
        call->row_cap = cap;
    }
    for (uint32_t i = 0; i < reply->row_count; i++) {
        const struct range_row *row = &reply->rows[i];
        call->rows[call->row_count++] =
            (struct range_row){.key = arena_copy(&call->arena, row->key),
                               .value = arena_copy(&call->arena, row->value),
                               .version = row->version};
    }
}

enum status router_scan_reply(struct router_part *part, const struct range_reply *reply) {
    struct router_call *call = part->call;
    if (!rows_are_sound(call, reply)) return STATUS_CORRUPTION;
    for (uint32_t i = 0; i < reply->row_count; i++)
        call->row_bytes += reply->rows[i].key.len + reply->rows[i].value.len;
    bool remains = advance(call, reply);
    bool full = call->row_count + reply->row_count >= call->row_limit ||
                call->row_bytes >= call->byte_limit;
    struct router_reply done = {.code = ROUTER_OK, .more = remains, .as_of = call->as_of};
    if ((full || !remains) && call->row_count == 0) {
        done.row_count = reply->row_count;
        done.rows = reply->rows;
        router_call_finish(call, &done);
        return STATUS_OK;
    }
    keep_rows(call, reply);
    if (full || !remains) {
        done.row_count = call->row_count;
        done.rows = call->rows;
        router_call_finish(call, &done);
        return STATUS_OK;
    }
    router_call_charge(call);
    router_part_ready(part);
    return STATUS_OK;
}
