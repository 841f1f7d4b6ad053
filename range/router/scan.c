/* SCAN: rows of [start, end) in order, range after range, one piece at a time. What remains to be
 * read is always [call.start, call.end), so a piece that has to be asked again, of whichever range
 * by then, needs no special care. Each range is read at its own instant: a scan over several ranges
 * is not one consistent cut.
 *
 * A node ends a piece early when it has looked at much, live or not (range/limits.h). If there was
 * any row in it, the page ends there: so the rows that a page has of one range are of one instant.
 * Else the scan goes on, and answers at the deadline with what it has, and where to go on: so a
 * client gets on through any number of deleted rows, whatever its deadlines. */
#include "base/log.h"
#include "range/router/internal.h"

static bool check_bounds(struct router_call *call, const struct router_request *request) {
    struct buf error = {0};
    if (request->start.len > TXN_BOUND_BYTES_MAX || request->end.len > TXN_BOUND_BYTES_MAX) {
        buf_printf(&error, "a bound of the scan has %zu bytes; the limit is %u",
                   request->start.len > request->end.len ? request->start.len : request->end.len,
                   TXN_BOUND_BYTES_MAX);
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

/* Behind the rows, inside the piece, and not where the piece began: else it would never end. */
static bool resume_is_sound(const struct router_call *call, const struct range_reply *reply) {
    struct slice resume = reply->resume;
    if (slice_compare(resume, call->piece_start) <= 0) return false;
    if (call->piece_end.len > 0 && slice_compare(resume, call->piece_end) >= 0) return false;
    if (reply->row_count == 0) return true;
    int order = slice_compare(reply->rows[reply->row_count - 1].key, resume);
    return call->reverse ? order >= 0 : order < 0;
}

/* Rows of possible keys, inside the piece, in order, and no more than asked for. */
static bool rows_are_sound(const struct router_call *call, const struct range_reply *reply) {
    if (reply->row_count > call->row_limit - call->row_count) return false;
    if (reply->more && !resume_is_sound(call, reply)) return false;
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
    bool last = call->reverse ? slice_equal(call->piece_start, call->start)
                              : slice_equal(call->piece_end, call->end);
    struct slice *front = call->reverse ? &call->end : &call->start;
    if (reply->more)
        *front = arena_copy(&call->arena, reply->resume);
    else
        *front = call->reverse ? call->piece_start : call->piece_end;
    call->advanced = true;
    return reply->more || !last;
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

static size_t bytes_of(const struct range_reply *reply) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < reply->row_count; i++)
        bytes += RANGE_ROW_BYTES + reply->rows[i].key.len + reply->rows[i].value.len;
    return bytes;
}

static void answer(struct router_call *call, const struct range_row *rows, uint32_t row_count,
                   bool more) {
    struct router_reply done = {.code = ROUTER_OK,
                                .row_count = row_count,
                                .rows = rows,
                                .more = more,
                                .as_of = call->as_of};
    if (more) done.resume = call->reverse ? call->end : call->start;
    router_call_finish(call, &done);
}

bool router_scan_answer_early(struct router_call *call) {
    if (!call->advanced) return false;
    answer(call, call->rows, call->row_count, true);
    return true;
}

enum status router_scan_reply(struct router_part *part, const struct range_reply *reply) {
    struct router_call *call = part->call;
    if (!rows_are_sound(call, reply)) return STATUS_CORRUPTION;
    size_t bytes = bytes_of(reply);
    /* A piece has one row at least, whatever room was left for it. */
    if (call->row_count > 0 && call->row_bytes + bytes > call->byte_limit) {
        answer(call, call->rows, call->row_count, true);
        return STATUS_OK;
    }
    call->row_bytes += bytes;
    bool remains = advance(call, reply);
    bool full = call->row_count + reply->row_count >= call->row_limit ||
                call->row_bytes >= call->byte_limit || (reply->more && reply->row_count > 0);
    if ((full || !remains) && call->row_count == 0) {
        answer(call, reply->rows, reply->row_count, remains);
        return STATUS_OK;
    }
    keep_rows(call, reply);
    if (full || !remains) {
        answer(call, call->rows, call->row_count, remains);
        return STATUS_OK;
    }
    router_call_charge(call);
    router_part_ready(part);
    return STATUS_OK;
}
