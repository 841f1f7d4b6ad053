#include "tests/range/router_fake.h"

#include <stdio.h>

#include "base/list.h"
#include "base/memory.h"

struct event {
    struct heap_node node; /* key: when */
    bool to_router;
    uint64_t node_id;
    uint32_t generation;
    struct buf frame;
};

static bool chance(struct fake *fake, uint32_t percent) {
    return percent > 0 && prng_below(&fake->prng, 100) < percent;
}

static void deliver_later(struct fake *fake, bool to_router, uint64_t node_id, struct slice frame) {
    struct event *event = MEMORY_NEW(struct event);
    event->to_router = to_router;
    event->node_id = node_id;
    event->generation = fake->nodes[node_id].generation;
    buf_assign(&event->frame, frame);
    heap_push(&fake->events, &event->node,
              fake->now_us + prng_between(&fake->prng, fake->delay_min_us, fake->delay_max_us));
}

static void event_free(struct event *event) {
    buf_done(&event->frame);
    memory_free(event);
}

/* ---- router_io ---- */

static enum status io_send(void *ctx, uint64_t node_id, struct slice frame) {
    struct fake *fake = ctx;
    if (node_id == 0 || node_id > FAKE_NODES || fake->nodes[node_id].dead)
        return STATUS_UNAVAILABLE;
    deliver_later(fake, false, node_id, frame);
    return STATUS_OK;
}

static void io_refresh(void *ctx) {
    struct fake *fake = ctx;
    fake->refreshes++;
    if (!fake->placement_silent) deliver_later(fake, true, 0, SLICE_EMPTY);
}

static void give_map(struct fake *fake) {
    struct router_range ranges[FAKE_RANGES_MAX];
    for (uint32_t i = 0; i < fake->range_count; i++)
        ranges[i] = (struct router_range){.descriptor = fake->ranges[i].descriptor,
                                          .leader_node = fake->ranges[i].leader};
    router_set_ranges(fake->router, ranges, fake->range_count, fake->now_us);
}

/* ---- a node ---- */

static struct fake_range *range_by_id(struct fake *fake, uint64_t id) {
    for (uint32_t i = 0; i < fake->range_count; i++)
        if (fake->ranges[i].descriptor.range_id == id) return &fake->ranges[i];
    return NULL;
}

static uint64_t pick_hint(struct fake *fake, const struct fake_range *range, uint64_t node_id) {
    if (range->hint_at[node_id] != 0) return range->hint_at[node_id];
    if (chance(fake, fake->faults.no_hint)) return 0;
    if (chance(fake, fake->faults.wrong_hint)) return prng_between(&fake->prng, 1, FAKE_NODES);
    if (range->hint != FAKE_HINT_TRUE) return range->hint;
    return range->leader;
}

static void read_keys(struct fake *fake, const struct range_request *request,
                      struct range_reply *reply) {
    struct mvcc_reader reader = {.engine = fake->engine};
    uint32_t count = request->key_count;
    if (fake->get_rows_max > 0 && count > fake->get_rows_max) count = fake->get_rows_max;
    reply->row_count = count;
    reply->rows = ARENA_NEW_ARRAY(&fake->arena, struct range_row, count);
    for (uint32_t i = 0; i < count; i++) {
        struct buf value = {0};
        struct mvcc_version version = {0};
        enum status status = mvcc_get(&reader, request->keys[i], MVCC_TS_MAX, &value, &version);
        bool found = status == STATUS_OK && version.kind == MVCC_PUT;
        reply->rows[i] = (struct range_row){0};
        if (found)
            reply->rows[i] = (struct range_row){.value = arena_copy(&fake->arena, version.value),
                                                .version = version.commit_ts};
        buf_done(&value);
    }
}

struct scan_ctx {
    struct fake *fake;
    struct range_reply *reply;
    uint32_t limit;
    bool reverse;
};

static bool scan_row(void *ctx, struct slice key, uint64_t commit_ts, struct slice value) {
    struct scan_ctx *scan = ctx;
    if (scan->reply->row_count == scan->limit) {
        const struct range_row *last = &scan->reply->rows[scan->limit - 1];
        scan->reply->more = true;
        scan->reply->resume = scan->reverse ? last->key : arena_copy(&scan->fake->arena, key);
        return false;
    }
    scan->reply->rows[scan->reply->row_count++] =
        (struct range_row){.key = arena_copy(&scan->fake->arena, key),
                           .value = arena_copy(&scan->fake->arena, value),
                           .version = commit_ts};
    return true;
}

static void scan_rows(struct fake *fake, const struct range_request *request,
                      struct range_reply *reply) {
    struct mvcc_reader reader = {.engine = fake->engine};
    struct scan_ctx scan = {
        .fake = fake, .reply = reply, .limit = request->row_limit, .reverse = request->reverse};
    struct mvcc_pace pace = {.steps_left =
                                 fake->scan_steps_max ? fake->scan_steps_max : UINT64_MAX};
    if (fake->get_rows_max > 0 && scan.limit > fake->get_rows_max) scan.limit = fake->get_rows_max;
    reply->rows = ARENA_NEW_ARRAY(&fake->arena, struct range_row, scan.limit);
    cr_assert_eq(mvcc_scan(&reader, request->start, request->end, MVCC_TS_MAX, request->reverse,
                           scan_row, &scan, &pace),
                 STATUS_OK);
    if (pace.resume.len > 0) {
        reply->more = true;
        reply->resume = arena_copy(&fake->arena, slice_from_buf(&pace.resume));
    }
    buf_done(&pace.resume);
}

static void run_command(struct fake *fake, const struct fake_range *range,
                        const struct range_request *request, struct range_reply *reply) {
    struct buf encoded = {0};
    struct txn_command command;
    buf_assign(&encoded, request->command);
    txn_command_stamp(encoded.data, encoded.len, fake->next_ts++);
    cr_assert_eq(txn_command_decode(slice_from_buf(&encoded), &fake->arena, &command), STATUS_OK);
    struct txn_span span = {.start = slice_from_buf(&range->descriptor.start),
                            .end = slice_from_buf(&range->descriptor.end)};
    txn_apply_begin(fake->apply, fake->batch);
    cr_assert_eq(txn_evaluate(fake->apply, &span, slice_from_buf(&encoded), &command, &fake->arena,
                              &reply->outcome),
                 STATUS_OK);
    cr_assert_eq(storage_write(fake->engine, fake->batch, STORAGE_BUFFERED), STATUS_OK);
    storage_batch_clear(fake->batch);
    txn_apply_end(fake->apply);
    if (fake->on_evaluated) fake->on_evaluated(fake->evaluated_ctx, &command, &reply->outcome);
    buf_done(&encoded);
}

/* Whoever asks by the present epoch asks for what lies in the range. */
static void check_span(const struct fake_range *range, const struct range_request *request) {
    for (uint32_t i = 0; i < request->key_count; i++)
        cr_assert(range_descriptor_contains(&range->descriptor, request->keys[i]));
    if (request->kind == RANGE_SCAN)
        cr_assert(range_descriptor_covers(&range->descriptor, request->start, request->end));
}

/* Only what the tests ask for: learners are added, others removed. */
static void change_replicas(struct fake_range *range, const struct range_request *request) {
    struct range_descriptor *descriptor = &range->descriptor;
    for (uint32_t i = 0; i < request->change_count; i++) {
        const struct range_replica_change *change = &request->changes[i];
        if (change->kind == RANGE_ADD_LEARNER) {
            descriptor->replicas[descriptor->replica_count++] = (struct range_replica_ref){
                descriptor->next_replica_id++, change->node_id, RANGE_LEARNER};
        } else {
            cr_assert_eq(change->kind, RANGE_REMOVE);
            uint32_t at = 0;
            while (descriptor->replicas[at].node_id != change->node_id)
                at++;
            descriptor->replicas[at] = descriptor->replicas[--descriptor->replica_count];
        }
    }
    descriptor->epoch.conf_version++;
}

static void serve_as_leader(struct fake *fake, struct fake_range *range,
                            const struct range_request *request, struct range_reply *reply) {
    reply->kind = request->kind;
    check_span(range, request);
    switch (request->kind) {
    case RANGE_GET:
        read_keys(fake, request, reply);
        break;
    case RANGE_SCAN:
        scan_rows(fake, request, reply);
        break;
    case RANGE_WRITE:
        /* A leader that is lost after the proposal: the command may be evaluated or not. */
        if (fake->wrong_range_left > 0) {
            fake->wrong_range_left--;
            reply->outcome.result = TXN_REFUSED_WRONG_RANGE;
        } else if (chance(fake, fake->faults.unknown)) {
            if (chance(fake, 50)) run_command(fake, range, request, reply);
            *reply = (struct range_reply){.call_id = request->call_id, .code = RANGE_REPLY_UNKNOWN};
        } else {
            run_command(fake, range, request, reply);
        }
        break;
    case RANGE_TRANSFER:
        break;
    case RANGE_CHANGE_REPLICAS:
        change_replicas(range, request);
        reply->descriptor = &range->descriptor;
        break;
    case RANGE_DESCRIBE:
        reply->descriptor = &range->descriptor;
        reply->term = 9;
        break;
    }
}

static bool same_epoch(struct range_epoch a, struct range_epoch b) {
    return a.conf_version == b.conf_version && a.span_version == b.span_version;
}

/* By whichever node: that of the range, and not behind. */
static void serve_stale(struct fake *fake, uint64_t node_id, struct fake_range *range,
                        const struct range_request *request, struct range_reply *reply) {
    if (request->epoch.span_version != range->descriptor.epoch.span_version) {
        reply->code = RANGE_REPLY_STALE_EPOCH;
        reply->descriptor = &range->descriptor;
    } else if (fake->nodes[node_id].behind) {
        reply->code = RANGE_REPLY_NOT_LEADER;
        reply->leader_node = range->leader;
    } else {
        serve_as_leader(fake, range, request, reply);
        reply->stale = true;
        reply->as_of = fake->nodes[node_id].as_of;
    }
}

static struct range_reply serve(struct fake *fake, uint64_t node_id,
                                const struct range_request *request) {
    struct range_reply reply = {.call_id = request->call_id};
    struct fake_range *range = range_by_id(fake, request->range_id);
    if (fake->busy_left > 0 || chance(fake, fake->faults.busy)) {
        if (fake->busy_left > 0) fake->busy_left--;
        reply.code = RANGE_REPLY_BUSY;
        reply.retry_after_us = 3000;
    } else if (!range || range->gone_from == node_id) {
        reply.code = RANGE_REPLY_NO_RANGE;
    } else if (request->read_mode == RANGE_READ_STALE) {
        serve_stale(fake, node_id, range, request, &reply);
    } else if (request->kind != RANGE_DESCRIBE &&
               !same_epoch(request->epoch, range->descriptor.epoch)) {
        reply.code = RANGE_REPLY_STALE_EPOCH;
        reply.descriptor = &range->descriptor;
    } else if (range->leader != node_id) {
        reply.code = RANGE_REPLY_NOT_LEADER;
        reply.leader_node = pick_hint(fake, range, node_id);
    } else if (fake->unavailable_text || chance(fake, fake->faults.unavailable)) {
        reply.code = RANGE_REPLY_UNAVAILABLE;
        reply.text = slice_from_text(fake->unavailable_text ? fake->unavailable_text : "away");
    } else {
        serve_as_leader(fake, range, request, &reply);
    }
    return reply;
}

static void node_receive(struct fake *fake, uint64_t node_id, struct slice frame) {
    struct fake_node *node = &fake->nodes[node_id];
    struct decoder calls;
    struct slice call;
    node->frames++;
    cr_assert_eq(range_frame_open(frame, &calls), STATUS_OK);
    while (range_frame_next(&calls, &call)) {
        struct range_request request;
        struct buf answer = {0};
        arena_reset(&fake->arena);
        cr_assert_eq(range_request_decode(call, &fake->arena, &request), STATUS_OK);
        node->requests++;
        if (request.kind == RANGE_WRITE) node->writes_seen++;
        if (chance(fake, fake->faults.lose_request)) continue;
        struct range_reply reply = serve(fake, node_id, &request);
        range_frame_begin(&answer);
        range_reply_encode(&answer, &reply);
        if (!chance(fake, fake->faults.lose_reply))
            deliver_later(fake, true, node_id, slice_from_buf(&answer));
        if (chance(fake, fake->faults.repeat_reply))
            deliver_later(fake, true, node_id, slice_from_buf(&answer));
        buf_done(&answer);
    }
    cr_assert(!calls.failed);
}

/* ---- time ---- */

static void deliver(struct fake *fake, struct event *event) {
    if (event->node_id == 0) {
        give_map(fake);
    } else if (event->generation != fake->nodes[event->node_id].generation) {
        /* Its stream broke while it was on the way. */
    } else if (fake->nodes[event->node_id].frozen && !event->to_router) {
        heap_push(&fake->events, &event->node, fake->now_us + 10000);
        return;
    } else if (event->to_router) {
        cr_assert_eq(router_replies(fake->router, event->node_id, slice_from_buf(&event->frame),
                                    fake->now_us),
                     STATUS_OK);
    } else {
        node_receive(fake, event->node_id, slice_from_buf(&event->frame));
    }
    event_free(event);
}

void fake_run(struct fake *fake, uint64_t until_us) {
    router_flush(fake->router, fake->now_us);
    for (;;) {
        const struct heap_node *first = heap_min(&fake->events);
        uint64_t event_us = first ? first->key : UINT64_MAX;
        uint64_t tick_us = router_next_us(fake->router);
        uint64_t next_us = event_us < tick_us ? event_us : tick_us;
        if (next_us > until_us) break;
        if (next_us > fake->now_us) fake->now_us = next_us;
        if (event_us <= tick_us) {
            deliver(fake, CONTAINER_OF(heap_pop(&fake->events), struct event, node));
        } else {
            router_tick(fake->router, fake->now_us);
        }
        router_flush(fake->router, fake->now_us);
    }
    if (until_us != UINT64_MAX && until_us > fake->now_us) fake->now_us = until_us;
}

/* ---- the cluster ---- */

void fake_init(struct fake *fake, uint64_t seed) {
    *fake = (struct fake){.now_us = 1000000,
                          .delay_min_us = 50,
                          .delay_max_us = 150,
                          .next_ts = 1000,
                          .next_range_id = 1,
                          .config = {.seed = seed}};
    prng_init(&fake->prng, seed);
    arena_init(&fake->arena, 0);
    fake->engine = memory_engine_new();
    fake->batch = storage_batch_new(fake->engine);
    fake->apply = txn_apply_new(fake->engine);
    fake_new_router(fake);
}

void fake_new_router(struct fake *fake) {
    struct router_io io = {.ctx = fake, .send = io_send, .refresh = io_refresh};
    router_free(fake->router);
    fake->router = router_new(&fake->config, &io);
}

void fake_done(struct fake *fake) {
    router_free(fake->router);
    struct heap_node *node;
    while ((node = heap_pop(&fake->events)))
        event_free(CONTAINER_OF(node, struct event, node));
    heap_done(&fake->events);
    for (uint32_t i = 0; i < fake->range_count; i++)
        range_descriptor_done(&fake->ranges[i].descriptor);
    txn_apply_free(fake->apply);
    storage_batch_free(fake->batch);
    storage_close(fake->engine);
    arena_done(&fake->arena);
}

static struct fake_range *add_range(struct fake *fake, struct slice start, struct slice end,
                                    uint64_t leader) {
    cr_assert(fake->range_count < FAKE_RANGES_MAX);
    struct fake_range *range = &fake->ranges[fake->range_count++];
    *range = (struct fake_range){.leader = leader, .hint = FAKE_HINT_TRUE};
    range->descriptor = (struct range_descriptor){.range_id = fake->next_range_id++,
                                                  .epoch = {1, 1},
                                                  .next_replica_id = FAKE_NODES + 1,
                                                  .replica_count = FAKE_NODES};
    buf_assign(&range->descriptor.start, start);
    buf_assign(&range->descriptor.end, end);
    for (uint32_t i = 0; i < FAKE_NODES; i++)
        range->descriptor.replicas[i] = (struct range_replica_ref){i + 1, i + 1, RANGE_VOTER};
    return range;
}

void fake_cut(struct fake *fake, const char *const *keys, uint32_t count, uint64_t leader) {
    for (uint32_t i = 0; i <= count; i++)
        (void)add_range(fake, i == 0 ? SLICE_EMPTY : slice_from_text(keys[i - 1]),
                        i == count ? SLICE_EMPTY : slice_from_text(keys[i]), leader);
}

struct fake_range *fake_range_of(struct fake *fake, struct slice key) {
    for (uint32_t i = 0; i < fake->range_count; i++)
        if (range_descriptor_contains(&fake->ranges[i].descriptor, key)) return &fake->ranges[i];
    cr_assert_fail("the ranges have a hole");
    return NULL;
}

void fake_split(struct fake *fake, struct slice key) {
    struct fake_range *left = fake_range_of(fake, key);
    if (slice_equal(slice_from_buf(&left->descriptor.start), key)) return;
    struct fake_range *right =
        add_range(fake, key, slice_from_buf(&left->descriptor.end), left->leader);
    buf_assign(&left->descriptor.end, key);
    left->descriptor.epoch.span_version++;
    right->descriptor.epoch = left->descriptor.epoch;
}

void fake_kill(struct fake *fake, uint64_t node) {
    fake->nodes[node].dead = true;
    fake->nodes[node].frozen = false;
    fake->nodes[node].generation++;
    router_node_down(fake->router, node, fake->now_us);
}

void fake_revive(struct fake *fake, uint64_t node) {
    fake->nodes[node].dead = false;
    if (!fake->nodes[node].unreported) router_node_up(fake->router, node, fake->now_us);
}

void fake_freeze(struct fake *fake, uint64_t node) {
    fake->nodes[node].frozen = true;
}

void fake_thaw(struct fake *fake, uint64_t node) {
    fake->nodes[node].frozen = false;
}

uint64_t fake_requests(const struct fake *fake) {
    uint64_t requests = 0;
    for (int i = 1; i <= FAKE_NODES; i++)
        requests += fake->nodes[i].requests;
    return requests;
}

/* ---- a client ---- */

void answer_set(void *ctx, const struct router_reply *reply) {
    struct answer *answer = ctx;
    answer->times++;
    answer->at_us = answer->fake->now_us;
    answer->code = reply->code;
    answer->retry_after_us = reply->retry_after_us;
    answer->row_count = reply->row_count;
    answer->more = reply->more;
    memset(answer->resume, 0, sizeof(answer->resume));
    answer->resume_len = reply->more ? reply->resume.len : 0;
    cr_assert_lt(answer->resume_len, sizeof(answer->resume));
    if (reply->more) memcpy(answer->resume, reply->resume.data, reply->resume.len);
    answer->found = 0;
    answer->value_bytes = 0;
    for (uint32_t i = 0; i < reply->row_count; i++) {
        answer->found += reply->rows[i].version > 0;
        answer->value_bytes += reply->rows[i].value.len;
    }
    answer->as_of = reply->as_of;
    struct slice said = reply->more ? SLICE_EMPTY : reply->text;
    (void)snprintf(answer->text, sizeof(answer->text), "%.*s", (int)said.len,
                   said.len > 0 ? (const char *)said.data : "");
    size_t at = 0;
    answer->rows[0] = 0;
    for (uint32_t i = 0; i < reply->row_count && at + 64 < sizeof(answer->rows); i++) {
        const struct range_row *row = &reply->rows[i];
        int len = row->version == 0 ? snprintf(answer->rows + at, 64, "-,")
                                    : snprintf(answer->rows + at, 64, "%.*s=%.*s,",
                                               (int)row->key.len, (const char *)row->key.data,
                                               (int)row->value.len, (const char *)row->value.data);
        at += (size_t)len;
    }
    if (reply->outcome) {
        answer->outcome = *reply->outcome;
        if (reply->outcome->number_count > 0) answer->first_number = reply->outcome->numbers[0];
        answer->outcome.numbers = NULL; /* valid during the callback only */
    }
}

void fake_submit(struct fake *fake, const struct router_request *request, struct answer *answer) {
    *answer = (struct answer){.fake = fake};
    router_submit(fake->router, request, fake->now_us, answer_set, answer);
}

static void submit_op(struct fake *fake, struct txn_op *op, const char *request_id,
                      struct answer *answer) {
    struct txn_command command = {.request_id =
                                      request_id ? slice_from_text(request_id) : SLICE_EMPTY,
                                  .op_count = 1,
                                  .ops = op};
    struct router_request request = {.op = ROUTER_WRITE, .command = &command};
    fake_submit(fake, &request, answer);
}

void fake_put(struct fake *fake, const char *key, const char *value, const char *request_id,
              struct answer *answer) {
    struct txn_op op = {
        .kind = TXN_OP_PUT, .key = slice_from_text(key), .value = slice_from_text(value)};
    submit_op(fake, &op, request_id, answer);
}

void fake_delete(struct fake *fake, const char *key, struct answer *answer) {
    struct txn_op op = {.kind = TXN_OP_DELETE, .key = slice_from_text(key)};
    submit_op(fake, &op, NULL, answer);
}

void fake_add(struct fake *fake, const char *key, int64_t delta, int64_t maximum,
              const char *request_id, struct answer *answer) {
    struct txn_op op = {
        .kind = TXN_OP_ADD, .key = slice_from_text(key), .delta = delta, .maximum = maximum};
    submit_op(fake, &op, request_id, answer);
}

void fake_get(struct fake *fake, const char *const *keys, uint32_t count, struct answer *answer) {
    struct slice slices[64];
    for (uint32_t i = 0; i < count; i++)
        slices[i] = slice_from_text(keys[i]);
    struct router_request request = {.op = ROUTER_GET, .key_count = count, .keys = slices};
    fake_submit(fake, &request, answer);
}

void fake_scan(struct fake *fake, const char *start, const char *end, bool reverse, uint32_t rows,
               struct answer *answer) {
    struct router_request request = {.op = ROUTER_SCAN,
                                     .start = slice_from_text(start),
                                     .end = slice_from_text(end),
                                     .reverse = reverse,
                                     .row_limit = rows};
    fake_submit(fake, &request, answer);
}

void fake_start(struct fake *fake, uint64_t leader) {
    static const char *const cuts[] = {"g", "p"};
    fake_init(fake, 1);
    fake_cut(fake, cuts, 2, leader);
}

void fake_start_warm(struct fake *fake, uint64_t leader) {
    static const char *const keys[] = {"a", "h", "q"};
    struct answer answer;
    fake_start(fake, leader);
    fake_get(fake, keys, 3, &answer);
    fake_run(fake, fake->now_us + FAKE_SECOND);
    cr_assert(answer.times == 1 && answer.code == ROUTER_OK, "%s", answer.text);
}

struct range_descriptor *fake_descriptor_of(struct fake *fake, const char *key) {
    return &fake_range_of(fake, slice_from_text(key))->descriptor;
}

void fake_lead(struct fake *fake, const char *key, uint64_t node) {
    fake_range_of(fake, slice_from_text(key))->leader = node;
}
