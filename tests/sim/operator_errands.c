/* What an operator asks of a router, as `flotilla admin` does: transfers of leaders, changes of
 * replicas, and what a range's leader knows of them. A router finds the leader, follows it, asks
 * again; it answers once, at the deadline at the latest, or when its process ends.
 *
 * A transfer that is done has made its target lead; a change that is done is in the descriptor, and
 * one that the router says was not made is made by nobody. */
#include <inttypes.h>

#include "tests/sim/operator.h"

struct errand {
    struct sim *sim;
    struct order order; /* TRANSFER, DESCRIBE: of the range alone */
    uint64_t to_node;   /* TRANSFER */
    uint64_t floor_term;
};

static struct errand *errand_new(struct sim *sim, uint64_t range_id) {
    struct errand *errand = MEMORY_NEW(struct errand);
    errand->sim = sim;
    errand->order.range_id = range_id;
    sim->errands++;
    return errand;
}

/* Not before the answer has been dealt with. */
static void errand_free(struct errand *errand) {
    ASSERT_CMP(errand->sim->errands, >, 0);
    errand->sim->errands--;
    memory_free(errand);
}

/* NULL: the one that is asked cannot be. */
static struct sim_router *some_router(struct sim *sim) {
    struct sim_router *router = &sim->routers[prng_below(&sim->prng, SIM_ROUTERS)];
    return router->host.up && !router->host.paused ? router : NULL;
}

static void submit(struct sim_router *router, struct router_request *request, router_done_fn *done,
                   struct errand *errand) {
    struct sim *sim = errand->sim;
    uint64_t host_us = sim_host_now_us(&router->host);
    request->range_id = errand->order.range_id;
    request->deadline_us = host_us + prng_between(&sim->prng, 100000, 5000000);
    router_submit(router->router, request, host_us, done, errand);
    sim_router_settle(router);
}

static void trace(const struct errand *errand, const struct router_reply *reply) {
    sim_trace(errand->sim, UINT64_C(3) << 40 | errand->order.range_id << 8 | (uint64_t)reply->code,
              SLICE_EMPTY);
}

/* ---- leaders handed over ---- */

static void transfer_answered(void *ctx, const struct router_reply *reply) {
    struct errand *errand = ctx;
    struct sim *sim = errand->sim;
    uint64_t range_id = errand->order.range_id;
    trace(errand, reply);
    sim_note(sim, "range %u: a router answers to the transfer to node id %u: %d",
             (unsigned)range_id, (unsigned)errand->to_node, (int)reply->code);
    if (reply->code == ROUTER_OK) {
        sim->life.transfers_routed++;
        if (!sim_rules_has_led(sim, range_id, errand->to_node, errand->floor_term))
            sim_broken(sim, "a transfer that is done has made its target lead",
                       "range %" PRIu64 ", node id %" PRIu64 ", not before term %" PRIu64, range_id,
                       errand->to_node, errand->floor_term);
    }
    errand_free(errand);
}

void sim_errand_transfer(struct sim *sim, uint64_t range_id, uint64_t to_node) {
    struct sim_router *router = some_router(sim);
    if (!router) return;
    struct errand *errand = errand_new(sim, range_id);
    struct router_request request = {.op = ROUTER_TRANSFER, .to_node = to_node};
    errand->to_node = to_node;
    errand->floor_term = sim_rules_term_of_leaders(sim, range_id);
    sim_note(sim, "range %u: router %u is asked to transfer it to node id %u", (unsigned)range_id,
             router->host.number, (unsigned)to_node);
    submit(router, &request, transfer_answered, errand);
}

/* ---- replicas ---- */

static void described(void *ctx, const struct router_reply *reply) {
    struct errand *errand = ctx;
    struct order *order = &errand->order;
    trace(errand, reply);
    if (reply->code == ROUTER_OK) {
        const struct range_descriptor *descriptor = reply->replicas->descriptor;
        sim_rules_described(errand->sim, descriptor, reply->replicas->leader_node,
                            reply->replicas->term);
        /* It was not made, as far as this leader knows. */
        if (descriptor->epoch.conf_version == order->epoch.conf_version)
            sim_order_unknown(errand->sim, order);
    }
    errand_free(errand);
}

/* DESCRIBE tells (range/router/router.h). */
static void look_what_became(struct sim *sim, const struct order *order) {
    struct sim_router *router = some_router(sim);
    if (!router) return;
    struct errand *errand = errand_new(sim, order->range_id);
    struct router_request request = {.op = ROUTER_DESCRIBE};
    errand->order = *order;
    submit(router, &request, described, errand);
}

static void change_answered(void *ctx, const struct router_reply *reply) {
    struct errand *errand = ctx;
    struct sim *sim = errand->sim;
    const struct order *order = &errand->order;
    trace(errand, reply);
    if (reply->code != ROUTER_OK)
        sim_note(sim, "range %u: a router answers to the change of version %u: %d",
                 (unsigned)order->range_id, (unsigned)order->epoch.conf_version, (int)reply->code);
    if (reply->code == ROUTER_OK) {
        sim->life.changes_routed++;
        sim_order_done(sim, order, NULL);
    } else if (reply->code == ROUTER_UNKNOWN) {
        look_what_became(sim, order);
    } else {
        if (reply->code == ROUTER_INVALID) sim_order_check_invalid(sim, order, reply->text);
        sim_order_refused(sim, order);
    }
    errand_free(errand);
}

void sim_errand_change(struct sim *sim, const struct order *order) {
    struct sim_router *router = some_router(sim);
    if (!router) return;
    struct errand *errand = errand_new(sim, order->range_id);
    errand->order = *order;
    struct router_request request = {.op = ROUTER_CHANGE_REPLICAS,
                                     .epoch = order->epoch,
                                     .change_count = order->change_count,
                                     .changes = errand->order.changes};
    sim_order_note(sim, order, "router", router->host.number);
    sim_order_asked(sim, order);
    submit(router, &request, change_answered, errand);
}
