#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/prng.h"
#include "range/record.h"
#include "range/request.h"

static struct slice text(const char *literal) {
    return slice_from_text(literal);
}

static void sample_descriptor(struct range_descriptor *descriptor) {
    *descriptor = (struct range_descriptor){
        .range_id = 7, .epoch = {3, 9}, .next_replica_id = 6, .replica_count = 2};
    buf_assign(&descriptor->start, text("a"));
    buf_assign(&descriptor->end, text("m"));
    descriptor->replicas[0] = (struct range_replica_ref){4, 1, RANGE_VOTER};
    descriptor->replicas[1] = (struct range_replica_ref){5, 2, RANGE_LEARNER};
}

static enum status decode(const struct buf *bytes, struct range_descriptor *descriptor) {
    struct decoder in = decoder_make(slice_from_buf(bytes));
    return range_descriptor_decode(&in, descriptor);
}

/* A descriptor survives encoding, and copies are its equals until something differs. */
Test(range_descriptor, reads_back_what_it_writes) {
    struct range_descriptor one, two = {0};
    struct buf bytes = {0};
    sample_descriptor(&one);
    range_descriptor_encode(&bytes, &one);
    cr_assert_eq(decode(&bytes, &two), STATUS_OK);
    cr_assert(range_descriptor_equal(&one, &two));
    range_descriptor_copy(&two, &one);
    two.replicas[1].role = RANGE_VOTER;
    cr_assert(!range_descriptor_equal(&one, &two));
    cr_assert_eq(range_descriptor_on_node(&one, 2)->replica_id, 5);
    cr_assert_eq(range_descriptor_replica(&one, 4)->node_id, 1);
    cr_assert_null(range_descriptor_on_node(&one, 3));
    range_descriptor_done(&one);
    range_descriptor_done(&two);
    buf_done(&bytes);
}

/* Who handed the leadership back is known by its place: the note follows the replica, not the
 * place, and goes when the replica does. */
Test(range_descriptor, notes_by_place_follow_their_replicas) {
    struct range_descriptor before, after;
    sample_descriptor(&before);
    before.replica_count = 3;
    before.replicas[2] = (struct range_replica_ref){2, 3, RANGE_VOTER};
    sample_descriptor(&after);
    after.replica_count = 3;
    after.replicas[0] = (struct range_replica_ref){2, 3, RANGE_VOTER};
    after.replicas[1] = (struct range_replica_ref){7, 4, RANGE_VOTER};
    after.replicas[2] = (struct range_replica_ref){4, 1, RANGE_VOTER};
    cr_expect_eq(range_descriptor_move_bits(1, &before, &after), 4);
    cr_expect_eq(range_descriptor_move_bits(2, &before, &after), 0);
    cr_expect_eq(range_descriptor_move_bits(4, &before, &after), 1);
    cr_expect_eq(range_descriptor_move_bits(7, &before, &after), 5);
    cr_expect_eq(range_descriptor_move_bits(7, &before, &before), 7);
    range_descriptor_done(&before);
    range_descriptor_done(&after);
}

/* Cut bytes are refused and leave nothing behind. */
Test(range_descriptor, refuses_cut_bytes) {
    struct range_descriptor one, two = {0};
    struct buf bytes = {0};
    sample_descriptor(&one);
    range_descriptor_encode(&bytes, &one);
    size_t whole = bytes.len;
    for (bytes.len = 0; bytes.len < whole; bytes.len++) {
        cr_assert_eq(decode(&bytes, &two), STATUS_CORRUPTION);
        cr_assert(two.range_id == 0 && two.start.data == NULL && two.end.data == NULL);
    }
    range_descriptor_done(&one);
    buf_done(&bytes);
}

/* A descriptor that contradicts itself is not believed, whichever field does. */
Test(range_descriptor, checks_every_field) {
    /* version, range id, start "a", end "m", epoch 3 9, next 6, count 2, (4 1 voter) (5 2 learner)
     */
    static const uint8_t sound[] = {1, 7, 1, 'a', 1, 'm', 3, 9, 6, 2, 4, 1, 1, 5, 2, 2};
    static const struct {
        size_t at;
        uint8_t value;
    } damages[] = {
        {0, 0},   {0, 3},  /* versions */
        {1, 0},            /* range id */
        {3, 'm'},          /* empty span */
        {3, 'z'},          /* inverted span */
        {8, 5},            /* a replica id not below the next one */
        {9, 17},           /* too many replicas */
        {10, 0},           /* replica id 0 */
        {10, 5},           /* a replica id twice */
        {11, 0},           /* node 0 */
        {11, 2},           /* a node twice */
        {12, 0},  {12, 3}, /* roles that are none, or none outside of a joint configuration */
        {12, 2},           /* no voter is left */
    };
    struct range_descriptor descriptor = {0};
    struct buf bytes = {0};
    buf_assign(&bytes, slice_make(sound, sizeof(sound)));
    cr_assert_eq(decode(&bytes, &descriptor), STATUS_OK);
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        buf_assign(&bytes, slice_make(sound, sizeof(sound)));
        bytes.data[damages[i].at] = damages[i].value;
        cr_expect_eq(decode(&bytes, &descriptor), STATUS_CORRUPTION, "damage %zu", i);
    }
    range_descriptor_done(&descriptor);
    buf_done(&bytes);
}

/* While a change of several replicas is under way, roles say who votes in which half; the Raft
 * configuration follows from them, and each half has voters. */
Test(range_descriptor, knows_joint_configurations) {
    struct range_descriptor joint, again = {0};
    struct buf bytes = {0};
    sample_descriptor(&joint);
    joint.joint = true;
    joint.next_replica_id = 20;
    joint.replica_count = 5;
    for (uint32_t i = 0; i < 5; i++)
        joint.replicas[i] = (struct range_replica_ref){10 + i, 1 + i, RANGE_VOTER + i};
    range_descriptor_encode(&bytes, &joint);
    cr_assert_eq(decode(&bytes, &again), STATUS_OK);
    cr_assert(range_descriptor_equal(&joint, &again));
    struct raft_conf_state conf = range_conf_from_descriptor(&again);
    cr_assert(conf.auto_leave);
    cr_assert(conf.voters.count == 2 && conf.voters.ids[0] == 10 && conf.voters.ids[1] == 12);
    cr_assert(conf.learners.count == 1 && conf.learners.ids[0] == 11);
    cr_assert(conf.voters_outgoing.count == 3 && conf.voters_outgoing.ids[2] == 14);
    cr_assert(conf.learners_next.count == 1 && conf.learners_next.ids[0] == 14);
    again.joint = false;
    cr_assert(!range_descriptor_equal(&joint, &again));

    /* Only what is left of the old half: nobody would vote in the new one. */
    joint.replicas[0].role = joint.replicas[2].role = RANGE_VOTER_OUTGOING;
    bytes.data[bytes.len - 13] = bytes.data[bytes.len - 7] = RANGE_VOTER_OUTGOING;
    cr_assert_eq(decode(&bytes, &again), STATUS_CORRUPTION);
    range_descriptor_done(&joint);
    buf_done(&bytes);
}

/* Keys and intervals at the edges of a span. */
Test(range_descriptor, spans_include_their_start_and_not_their_end) {
    struct range_descriptor range;
    sample_descriptor(&range);
    cr_assert(range_descriptor_contains(&range, text("a")));
    cr_assert(!range_descriptor_contains(&range, text("")));
    cr_assert(range_descriptor_contains(&range, text("lzzz")));
    cr_assert(!range_descriptor_contains(&range, text("m")));
    cr_assert(range_descriptor_covers(&range, text("a"), text("m")));
    cr_assert(!range_descriptor_covers(&range, text("a"), text("m0")));
    cr_assert(!range_descriptor_covers(&range, text("a"), text("")));
    cr_assert(!range_descriptor_covers(&range, text(""), text("b")));
    buf_clear(&range.end);
    cr_assert(range_descriptor_covers(&range, text("a"), text("")));
    cr_assert(range_descriptor_contains(&range, text("\xff\xff")));
    range_descriptor_done(&range);
}

static void encode_requests(struct buf *frame) {
    struct slice keys[] = {text("k1"), text(""), text("k3")};
    range_frame_begin(frame);
    struct range_request get = {.call_id = 1,
                                .kind = RANGE_GET,
                                .range_id = 300,
                                .epoch = {1, 2},
                                .timeout_us = 5000000,
                                .read_mode = RANGE_READ_INDEX,
                                .key_count = 3,
                                .keys = keys};
    range_request_encode(frame, &get);
    struct range_request scan = {.call_id = UINT64_MAX,
                                 .kind = RANGE_SCAN,
                                 .range_id = 1,
                                 .start = text("a"),
                                 .end = text("b"),
                                 .reverse = true,
                                 .row_limit = 10,
                                 .byte_limit = UINT32_MAX};
    range_request_encode(frame, &scan);
    struct range_request write = {
        .call_id = 3, .kind = RANGE_WRITE, .range_id = 2, .command = text("command")};
    range_request_encode(frame, &write);
    struct range_request transfer = {
        .call_id = 4, .kind = RANGE_TRANSFER, .range_id = 2, .to_node = 9};
    range_request_encode(frame, &transfer);
    struct range_replica_change changes[] = {{RANGE_PROMOTE, 4}, {RANGE_REMOVE, 300}};
    struct range_request change = {.call_id = 5,
                                   .kind = RANGE_CHANGE_REPLICAS,
                                   .range_id = 2,
                                   .change_count = 2,
                                   .changes = changes};
    range_request_encode(frame, &change);
    struct range_request describe = {.call_id = 6, .kind = RANGE_DESCRIBE, .range_id = 2};
    range_request_encode(frame, &describe);
    struct range_request stale = {.call_id = 7,
                                  .kind = RANGE_GET,
                                  .range_id = 2,
                                  .read_mode = RANGE_READ_STALE,
                                  .key_count = 1,
                                  .keys = keys};
    range_request_encode(frame, &stale);
}

/* A frame of every kind of request is read as it was written, and can be dispatched by its heads.
 */
Test(range_request, reads_back_what_it_writes) {
    struct buf frame = {0};
    struct arena arena;
    struct decoder calls;
    struct slice call;
    struct range_request request;
    uint64_t call_id, range_id;
    arena_init(&arena, 0);
    encode_requests(&frame);
    cr_assert_eq(range_frame_open(slice_from_buf(&frame), &calls), STATUS_OK);

    cr_assert(range_frame_next(&calls, &call));
    cr_assert_eq(range_request_decode(call, &arena, &request), STATUS_OK);
    cr_assert(request.kind == RANGE_GET && request.call_id == 1 && request.range_id == 300);
    cr_assert(request.epoch.conf_version == 1 && request.epoch.span_version == 2);
    cr_assert(request.timeout_us == 5000000 && request.read_mode == RANGE_READ_INDEX);
    cr_assert(request.key_count == 3 && slice_equal(request.keys[2], text("k3")));

    cr_assert(range_frame_next(&calls, &call));
    cr_assert_eq(range_request_decode(call, &arena, &request), STATUS_OK);
    cr_assert(request.kind == RANGE_SCAN && request.reverse && !request.keys_only);
    cr_assert(slice_equal(request.start, text("a")) && slice_equal(request.end, text("b")));
    cr_assert(request.row_limit == 10 && request.byte_limit == UINT32_MAX);

    cr_assert(range_frame_next(&calls, &call));
    cr_assert_eq(range_request_peek(call, &call_id, &range_id), STATUS_OK);
    cr_assert(call_id == 3 && range_id == 2);
    cr_assert_eq(range_request_decode(call, &arena, &request), STATUS_OK);
    cr_assert(slice_equal(request.command, text("command")));

    cr_assert(range_frame_next(&calls, &call));
    cr_assert_eq(range_request_decode(call, &arena, &request), STATUS_OK);
    cr_assert(request.kind == RANGE_TRANSFER && request.to_node == 9);

    cr_assert(range_frame_next(&calls, &call));
    cr_assert_eq(range_request_decode(call, &arena, &request), STATUS_OK);
    cr_assert(request.kind == RANGE_CHANGE_REPLICAS && request.change_count == 2);
    cr_assert(request.changes[0].kind == RANGE_PROMOTE && request.changes[0].node_id == 4);
    cr_assert(request.changes[1].kind == RANGE_REMOVE && request.changes[1].node_id == 300);

    cr_assert(range_frame_next(&calls, &call));
    cr_assert_eq(range_request_decode(call, &arena, &request), STATUS_OK);
    cr_assert(request.kind == RANGE_DESCRIBE && request.range_id == 2);

    cr_assert(range_frame_next(&calls, &call));
    cr_assert_eq(range_request_decode(call, &arena, &request), STATUS_OK);
    cr_assert(request.kind == RANGE_GET && request.read_mode == RANGE_READ_STALE);
    cr_assert(!range_frame_next(&calls, &call) && !calls.failed);
    buf_done(&frame);
    arena_done(&arena);
}

/* Whatever is cut off a frame, nothing is read past its end and the loss is noticed. */
Test(range_request, notices_cut_frames) {
    struct buf frame = {0};
    struct arena arena;
    arena_init(&arena, 0);
    encode_requests(&frame);
    for (size_t len = 0; len < frame.len; len++) {
        uint8_t *cut = malloc(len + 1); /* its own block: the sanitizer sees every step beyond */
        memcpy(cut, frame.data, len);
        struct decoder calls;
        struct slice call;
        struct range_request request;
        int sound = 0;
        if (range_frame_open(slice_make(cut, len), &calls) == STATUS_OK) {
            while (range_frame_next(&calls, &call))
                sound += range_request_decode(call, &arena, &request) == STATUS_OK;
        }
        cr_assert_lt(sound, 7, "cut to %zu of %zu", len, frame.len);
        free(cut);
    }
    buf_done(&frame);
    arena_done(&arena);
}

/* An unknown kind can still be answered by its call id; unknown modes and flags are refused. */
Test(range_request, refuses_what_it_does_not_know) {
    struct arena arena;
    struct range_request request;
    uint64_t call_id, range_id;
    arena_init(&arena, 0);
    static const uint8_t unknown_kind[] = {5, 99, 7, 1, 1, 0, 1, 2, 3};
    static const uint8_t unknown_mode[] = {5, RANGE_GET, 7, 1, 1, 0, 3, 0};
    static const uint8_t unknown_flag[] = {5, RANGE_SCAN, 7, 1, 1, 0, 0, 4, 0, 0, 0, 0};
    static const uint8_t unknown_change[] = {5, RANGE_CHANGE_REPLICAS, 7, 1, 1, 0, 1, 5, 2};
    struct slice call = slice_make(unknown_kind, sizeof(unknown_kind));
    cr_assert_eq(range_request_decode(call, &arena, &request), STATUS_UNSUPPORTED);
    cr_assert_eq(range_request_peek(call, &call_id, &range_id), STATUS_OK);
    cr_assert(call_id == 5 && range_id == 7);
    call = slice_make(unknown_mode, sizeof(unknown_mode));
    cr_assert_eq(range_request_decode(call, &arena, &request), STATUS_CORRUPTION);
    call = slice_make(unknown_flag, sizeof(unknown_flag));
    cr_assert_eq(range_request_decode(call, &arena, &request), STATUS_CORRUPTION);
    call = slice_make(unknown_change, sizeof(unknown_change));
    cr_assert_eq(range_request_decode(call, &arena, &request), STATUS_CORRUPTION);
    arena_done(&arena);
}

static void encode_replies(struct buf *frame, const struct range_descriptor *descriptor) {
    struct range_row rows[] = {{text("k1"), text("v1"), 5}, {text("k2"), SLICE_EMPTY, 0}};
    int64_t numbers[] = {-1, 2};
    struct range_replica_progress progress[] = {{1, 300, true, false}, {2, 12, false, true}};
    struct range_reply replies[] = {
        {.call_id = 1, .code = RANGE_REPLY_OK, .kind = RANGE_GET, .row_count = 2, .rows = rows},
        {.call_id = 2,
         .code = RANGE_REPLY_OK,
         .kind = RANGE_SCAN,
         .row_count = 1,
         .rows = rows,
         .more = true,
         .resume = text("k1a")},
        {.call_id = 3,
         .code = RANGE_REPLY_OK,
         .kind = RANGE_WRITE,
         .outcome = {.commit_ts = 77, .number_count = 2, .numbers = numbers}},
        {.call_id = 4, .code = RANGE_REPLY_OK, .kind = RANGE_TRANSFER},
        {.call_id = 5, .code = RANGE_REPLY_NOT_LEADER, .leader_node = 3, .descriptor = descriptor},
        {.call_id = 6, .code = RANGE_REPLY_NOT_LEADER},
        {.call_id = 7, .code = RANGE_REPLY_STALE_EPOCH, .descriptor = descriptor},
        {.call_id = 8, .code = RANGE_REPLY_NO_RANGE},
        {.call_id = 9, .code = RANGE_REPLY_BUSY, .retry_after_us = 1234},
        {.call_id = 10, .code = RANGE_REPLY_TIMEOUT},
        {.call_id = 11, .code = RANGE_REPLY_UNKNOWN},
        {.call_id = 12, .code = RANGE_REPLY_INVALID, .text = text("why")},
        {.call_id = 13, .code = RANGE_REPLY_UNAVAILABLE, .text = text("away")},
        {.call_id = 14,
         .code = RANGE_REPLY_OK,
         .kind = RANGE_CHANGE_REPLICAS,
         .descriptor = descriptor},
        {.call_id = 15,
         .code = RANGE_REPLY_OK,
         .kind = RANGE_DESCRIBE,
         .descriptor = descriptor,
         .term = 7,
         .commit_index = 300,
         .progress_count = 2,
         .progress = progress},
        {.call_id = 16,
         .code = RANGE_REPLY_OK,
         .kind = RANGE_GET,
         .row_count = 2,
         .rows = rows,
         .stale = true,
         .as_of = 300},
        {.call_id = 17, .code = RANGE_REPLY_OK, .kind = RANGE_SCAN, .stale = true},
    };
    range_frame_begin(frame);
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++)
        range_reply_encode(frame, &replies[i]);
}

/* A frame of every kind of reply is read as it was written. */
Test(range_reply, reads_back_what_it_writes) {
    struct range_descriptor descriptor, storage = {0};
    struct buf frame = {0};
    struct arena arena;
    struct decoder calls;
    struct slice call;
    struct range_reply replies[17];
    size_t count = 0;
    arena_init(&arena, 0);
    sample_descriptor(&descriptor);
    encode_replies(&frame, &descriptor);
    cr_assert_eq(range_frame_open(slice_from_buf(&frame), &calls), STATUS_OK);
    while (range_frame_next(&calls, &call)) {
        struct range_reply *reply = &replies[count++];
        cr_assert_eq(range_reply_decode(call, &arena, &storage, reply), STATUS_OK);
        cr_assert_eq(reply->call_id, count);
        bool described = count == 5 || count == 7 || count == 14 || count == 15;
        cr_assert_eq(reply->descriptor != NULL, described);
        if (described) cr_assert(range_descriptor_equal(reply->descriptor, &descriptor));
    }
    cr_assert(count == 17 && !calls.failed);
    cr_assert(replies[14].term == 7 && replies[14].commit_index == 300);
    cr_assert(replies[14].progress_count == 2 && replies[14].progress[0].active);
    cr_assert(replies[14].progress[1].match == 12 && replies[14].progress[1].gets_snapshot);
    cr_assert(!replies[14].progress[1].active && !replies[14].progress[0].gets_snapshot);
    cr_assert(replies[0].row_count == 2 && replies[0].rows[0].version == 5);
    cr_assert(slice_equal(replies[0].rows[0].value, text("v1")));
    cr_assert(replies[0].rows[1].version == 0 && replies[0].rows[1].value.len == 0);
    cr_assert(replies[1].more && slice_equal(replies[1].rows[0].key, text("k1")));
    cr_assert(slice_equal(replies[1].resume, text("k1a")));
    cr_assert(replies[2].outcome.commit_ts == 77 && replies[2].outcome.numbers[0] == -1);
    cr_assert_eq(replies[4].leader_node, 3);
    cr_assert_eq(replies[8].retry_after_us, 1234);
    cr_assert(slice_equal(replies[11].text, text("why")));
    cr_assert(!replies[0].stale && !replies[1].stale && !replies[2].stale);
    cr_assert(replies[15].stale && replies[15].as_of == 300 && replies[15].row_count == 2);
    cr_assert(replies[16].stale && replies[16].as_of == 0 && replies[16].row_count == 0);
    range_descriptor_done(&descriptor);
    range_descriptor_done(&storage);
    buf_done(&frame);
    arena_done(&arena);
}

/* Damage anywhere in a frame of replies is either noticed or harmless; never a wild read. */
Test(range_reply, survives_random_damage) {
    struct range_descriptor descriptor, storage = {0};
    struct buf frame = {0}, damaged = {0};
    struct arena arena;
    struct prng prng;
    prng_init(&prng, 5);
    arena_init(&arena, 0);
    sample_descriptor(&descriptor);
    encode_replies(&frame, &descriptor);
    for (int i = 0; i < 20000; i++) {
        struct decoder calls;
        struct slice call;
        struct range_reply reply;
        size_t read = 0;
        buf_assign(&damaged, slice_from_buf(&frame));
        for (uint64_t n = prng_between(&prng, 1, 4); n > 0; n--)
            damaged.data[prng_below(&prng, damaged.len)] = (uint8_t)prng_next(&prng);
        arena_reset(&arena);
        if (range_frame_open(slice_from_buf(&damaged), &calls) != STATUS_OK) continue;
        while (range_frame_next(&calls, &call))
            read += range_reply_decode(call, &arena, &storage, &reply) == STATUS_OK;
        cr_assert_leq(read, frame.len);
    }
    range_descriptor_done(&descriptor);
    range_descriptor_done(&storage);
    buf_done(&frame);
    buf_done(&damaged);
    arena_done(&arena);
}
