/* What an operator asks of a node itself: she stands at the machine, so that what she asks and
 * hears is not lost on a network, but dies with the process that was asked. */
#include <inttypes.h>

#include "tests/sim/operator.h"

#define CALL_ID 1u /* each order has a stream of its own */

struct machine_order {
    struct range_session base;
    uint32_t refs; /* of the process that was asked, and 1 of the operator while `open` */
    struct sim *sim;
    bool open; /* no answer yet */
    uint64_t node_incarnation, given_up_us;
    struct sim_node *node;
    struct order order;
};

static void machine_order_release(struct range_session *base) {
    struct machine_order *given = CONTAINER_OF(base, struct machine_order, base);
    ASSERT_CMP(given->refs, >, 0);
    if (--given->refs == 0) memory_free(given);
}

static void machine_order_retain(struct range_session *base) {
    CONTAINER_OF(base, struct machine_order, base)->refs++;
}

static void close_order(struct sim *sim, struct machine_order *given) {
    given->open = false;
    for (uint32_t i = 0; i < ORDERS_MAX; i++)
        if (sim->operator->orders[i] == given) sim->operator->orders[i] = NULL;
    machine_order_release(&given->base);
}

/* ---- answers ---- */

static void check_stale_epoch(const struct machine_order *given, const struct range_reply *reply) {
    const struct order *order = &given->order;
    if (reply->code == RANGE_REPLY_STALE_EPOCH && reply->descriptor &&
        reply->descriptor->epoch.conf_version == order->epoch.conf_version)
        sim_broken(given->sim, "an epoch is stale when it is not the present one",
                   "range %" PRIu64 ", version %" PRIu64, order->range_id,
                   order->epoch.conf_version);
}

static void answered(struct machine_order *given, const struct range_reply *reply) {
    struct sim *sim = given->sim;
    const struct order *order = &given->order;
    sim_trace(sim, UINT64_C(2) << 40 | order->range_id << 8 | (uint64_t)reply->code, SLICE_EMPTY);
    if (reply->code != RANGE_REPLY_OK)
        sim_note(sim, "range %u: change of version %u answered with %d", (unsigned)order->range_id,
                 (unsigned)order->epoch.conf_version, (int)reply->code);
    if (reply->code == RANGE_REPLY_UNKNOWN) {
        given->given_up_us = sim->now_us; /* asked again from there */
        return;
    }
    if (reply->code == RANGE_REPLY_OK) {
        if (!reply->descriptor || reply->descriptor->range_id != order->range_id)
            sim_broken(sim, "an answer is about what was asked for", "range %" PRIu64,
                       order->range_id);
        sim_order_done(sim, order, reply->descriptor);
    } else {
        if (reply->code == RANGE_REPLY_INVALID) sim_order_check_invalid(sim, order, reply->text);
        check_stale_epoch(given, reply);
        sim_order_refused(sim, order);
    }
    close_order(sim, given);
}

static void take_replies(struct range_session *base, struct slice frame) {
    struct machine_order *given = CONTAINER_OF(base, struct machine_order, base);
    struct decoder calls;
    struct slice call;
    struct arena arena;
    if (!given->open || !given->node->host.up ||
        given->node->host.incarnation != given->node_incarnation)
        return;
    enum status status = range_frame_open(frame, &calls);
    ASSERT(status == STATUS_OK);
    arena_init(&arena, 0);
    while (given->open && range_frame_next(&calls, &call)) {
        struct range_descriptor descriptor = {0};
        struct range_reply reply;
        status = range_reply_decode(call, &arena, &descriptor, &reply);
        ASSERT(status == STATUS_OK && reply.call_id == CALL_ID);
        answered(given, &reply);
        range_descriptor_done(&descriptor);
    }
    arena_done(&arena);
}

/* ---- asking ---- */

void sim_order_give(struct sim *sim, const struct order *order, struct sim_node *node) {
    uint32_t slot = 0;
    while (slot < ORDERS_MAX && sim->operator->orders[slot])
        slot++;
    if (slot == ORDERS_MAX || !node || !node->store || node->host.paused) return;
    struct machine_order *given = MEMORY_NEW(struct machine_order);
    given->base = (struct range_session){
        .send = take_replies, .retain = machine_order_retain, .release = machine_order_release};
    given->refs = 1;
    given->open = true;
    given->sim = sim;
    given->node = node;
    given->node_incarnation = node->host.incarnation;
    given->order = *order;
    struct range_request request = {.call_id = CALL_ID,
                                    .kind = RANGE_CHANGE_REPLICAS,
                                    .range_id = order->range_id,
                                    .epoch = order->epoch,
                                    .timeout_us = prng_between(&sim->prng, 300000, 5000000),
                                    .change_count = order->change_count,
                                    .changes = given->order.changes};
    given->given_up_us = sim->now_us + request.timeout_us + SIM_SECOND_US;
    sim->operator->orders[slot] = given;
    sim_order_note(sim, order, "node", node->host.number);
    sim_order_asked(sim, order);
    struct buf frame = {0};
    range_frame_begin(&frame);
    range_request_encode(&frame, &request);
    enum status status = range_store_requests(node->store, &given->base, slice_from_buf(&frame));
    buf_done(&frame);
    if (status != STATUS_OK) close_order(sim, given); /* the mailbox is full */
    sim_node_schedule(node);
}

void sim_orders_expire(struct sim *sim) {
    for (uint32_t i = 0; i < ORDERS_MAX; i++) {
        struct machine_order *given = sim->operator->orders[i];
        if (!given) continue;
        const struct sim_host *host = &given->node->host;
        bool lost = !host->up || host->incarnation != given->node_incarnation;
        if (!lost && sim->now_us < given->given_up_us) continue;
        struct order order = given->order;
        close_order(sim, given);
        sim_order_unknown(sim, &order);
    }
}

bool sim_range_is_ordered(const struct sim *sim, uint64_t range_id) {
    for (uint32_t i = 0; i < ORDERS_MAX; i++) {
        const struct machine_order *given = sim->operator->orders[i];
        if (given && (range_id == 0 || given->order.range_id == range_id)) return true;
    }
    return false;
}

void sim_orders_free(struct sim *sim) {
    for (uint32_t i = 0; i < ORDERS_MAX; i++)
        if (sim->operator->orders[i]) close_order(sim, sim->operator->orders[i]);
}
