/* An operator who changes the replicas of ranges: adds learners where there is no replica, promotes
 * and demotes, removes, one at a time or several in one joint step, leaders among them, while the
 * nemesis does the rest. She asks whichever node leads as far as she knows, sometimes another one
 * or with an epoch that is not the present one, asks again what nobody answered, and puts all in
 * order in the end: three voters for each range, and nothing else.
 *
 * She stands at the machines: what she asks and hears is not lost on a network, but dies with the
 * process that was asked. */
#include <inttypes.h>

#include "tests/sim/rules.h"

#define ORDERS_MAX 8u
#define CHANGES_MAX 4u
#define VOTERS_AT_THE_END 3u
#define TIDYING_US 100000u
#define CALL_ID 1u /* each order has a stream of its own */

struct order {
    struct range_session base;
    uint32_t refs; /* of the process that was asked, and 1 of the operator while `open` */
    struct sim *sim;
    bool open; /* no answer yet */
    bool nonsense;
    bool again; /* asked for the second time */
    uint64_t node_incarnation, given_up_us;
    struct sim_node *node;
    uint64_t range_id;
    struct range_epoch epoch;
    uint32_t change_count;
    struct range_replica_change changes[CHANGES_MAX];
};

struct sim_operator {
    struct sim_timer timer;
    struct order *orders[ORDERS_MAX];
    uint64_t acknowledged[SIM_RANGES_MAX + 1]; /* conf_version of the newest change that is done */
    bool tidying;
};

/* ---- what she holds the nodes to ---- */

static const char *change_name(enum range_replica_change_kind kind) {
    static const char *const names[] = {"?", "add learner", "promote", "remove", "demote"};
    return names[kind];
}

static bool is_done(const struct range_descriptor *descriptor,
                    const struct range_replica_change *change) {
    const struct range_replica_ref *ref = range_descriptor_on_node(descriptor, change->node_id);
    if (change->kind == RANGE_REMOVE) return ref == NULL;
    return ref && ref->role == (change->kind == RANGE_PROMOTE ? RANGE_VOTER : RANGE_LEARNER);
}

static void check_done(const struct order *order, const struct range_descriptor *descriptor) {
    bool right = descriptor && descriptor->range_id == order->range_id && !descriptor->joint &&
                 descriptor->epoch.conf_version > order->epoch.conf_version;
    for (uint32_t i = 0; right && i < order->change_count; i++)
        right = is_done(descriptor, &order->changes[i]);
    if (!right)
        sim_broken(order->sim, "a change of replicas that is done is in the descriptor",
                   "range %" PRIu64 ", asked of version %" PRIu64 " at node %u", order->range_id,
                   order->epoch.conf_version, order->node->host.number);
}

static void check_refused(const struct order *order, const struct range_reply *reply) {
    if (reply->code == RANGE_REPLY_INVALID && !order->nonsense)
        sim_broken(order->sim, "a change that fits the descriptor is not refused",
                   "range %" PRIu64 ": %.*s", order->range_id, (int)reply->text.len,
                   (const char *)reply->text.data);
    if (reply->code == RANGE_REPLY_STALE_EPOCH && reply->descriptor &&
        reply->descriptor->epoch.conf_version == order->epoch.conf_version)
        sim_broken(order->sim, "an epoch is stale when it is not the present one",
                   "range %" PRIu64 ", version %" PRIu64, order->range_id,
                   order->epoch.conf_version);
}

/* ---- orders ---- */

static void order_release(struct range_session *base) {
    struct order *order = CONTAINER_OF(base, struct order, base);
    ASSERT_CMP(order->refs, >, 0);
    if (--order->refs == 0) memory_free(order);
}

static void order_retain(struct range_session *base) {
    CONTAINER_OF(base, struct order, base)->refs++;
}

static void close_order(struct sim *sim, struct order *order) {
    order->open = false;
    for (uint32_t i = 0; i < ORDERS_MAX; i++)
        if (sim->operator->orders[i] == order) sim->operator->orders[i] = NULL;
    order_release(&order->base);
}

static void answered(struct order *order, const struct range_reply *reply) {
    struct sim *sim = order->sim;
    sim_trace(sim, UINT64_C(2) << 40 | order->range_id << 8 | (uint64_t)reply->code, SLICE_EMPTY);
    if (reply->code == RANGE_REPLY_OK) {
        uint64_t *acknowledged = &sim->operator->acknowledged[order->range_id];
        check_done(order, reply->descriptor);
        sim_note(sim, "range %u: replicas are changed, version %u", (unsigned)order->range_id,
                 (unsigned)reply->descriptor->epoch.conf_version);
        sim->life.changes++;
        if (reply->descriptor->epoch.conf_version > *acknowledged)
            *acknowledged = reply->descriptor->epoch.conf_version;
    } else {
        sim_note(sim, "range %u: change of version %u answered with %d", (unsigned)order->range_id,
                 (unsigned)order->epoch.conf_version, (int)reply->code);
        check_refused(order, reply);
    }
    bool unknown = reply->code == RANGE_REPLY_UNKNOWN;
    if (unknown)
        order->given_up_us = sim->now_us; /* asked again from there */
    else
        close_order(sim, order);
}

static void take_replies(struct range_session *base, struct slice frame) {
    struct order *order = CONTAINER_OF(base, struct order, base);
    struct decoder calls;
    struct slice call;
    struct arena arena;
    if (!order->open || !order->node->host.up ||
        order->node->host.incarnation != order->node_incarnation)
        return;
    enum status status = range_frame_open(frame, &calls);
    ASSERT(status == STATUS_OK);
    arena_init(&arena, 0);
    while (order->open && range_frame_next(&calls, &call)) {
        struct range_descriptor descriptor = {0};
        struct range_reply reply;
        status = range_reply_decode(call, &arena, &descriptor, &reply);
        ASSERT(status == STATUS_OK && reply.call_id == CALL_ID);
        answered(order, &reply);
        range_descriptor_done(&descriptor);
    }
    arena_done(&arena);
}

static void note_order(const struct order *order) {
    struct buf text = {0};
    for (uint32_t i = 0; i < order->change_count; i++)
        buf_printf(&text, "%s %s %u", i ? "," : "", change_name(order->changes[i].kind),
                   (unsigned)order->changes[i].node_id);
    sim_note(order->sim, "range %u: node %u is asked to%.*s, of version %u%s",
             (unsigned)order->range_id, order->node->host.number, (int)text.len,
             (const char *)text.data, (unsigned)order->epoch.conf_version,
             order->again ? ", again" : "");
    buf_done(&text);
}

/* Asks the node for what the order says. */
static void give(struct sim *sim, const struct order *what, struct sim_node *node) {
    uint32_t slot = 0;
    while (slot < ORDERS_MAX && sim->operator->orders[slot])
        slot++;
    if (slot == ORDERS_MAX || !node || !node->store || node->host.paused) return;
    struct order *order = MEMORY_NEW(struct order);
    *order = *what;
    order->base = (struct range_session){
        .send = take_replies, .retain = order_retain, .release = order_release};
    order->refs = 1;
    order->open = true;
    order->sim = sim;
    order->node = node;
    order->node_incarnation = node->host.incarnation;
    struct range_request request = {.call_id = CALL_ID,
                                    .kind = RANGE_CHANGE_REPLICAS,
                                    .range_id = order->range_id,
                                    .epoch = order->epoch,
                                    .timeout_us = prng_between(&sim->prng, 300000, 5000000),
                                    .change_count = order->change_count,
                                    .changes = order->changes};
    order->given_up_us = sim->now_us + request.timeout_us + SIM_SECOND_US;
    sim->operator->orders[slot] = order;
    note_order(order);
    struct buf frame = {0};
    range_frame_begin(&frame);
    range_request_encode(&frame, &request);
    enum status status = range_store_requests(node->store, &order->base, slice_from_buf(&frame));
    buf_done(&frame);
    if (status != STATUS_OK) close_order(sim, order); /* the mailbox is full */
    sim_node_schedule(node);
}

/* Nobody knows what became of it. The epoch sees to it that it happens once. */
static void expire(struct sim *sim) {
    for (uint32_t i = 0; i < ORDERS_MAX; i++) {
        struct order *order = sim->operator->orders[i];
        if (!order) continue;
        const struct sim_host *host = &order->node->host;
        bool lost = !host->up || host->incarnation != order->node_incarnation;
        if (!lost && sim->now_us < order->given_up_us) continue;
        struct order again = *order;
        again.again = true;
        close_order(sim, order);
        if (!again.nonsense && sim_chance(sim, 500))
            give(sim, &again, sim_rules_leader(sim, again.range_id));
    }
}

/* ---- what to ask for ---- */

struct census {
    uint32_t voters, learners;
};

static struct census count_replicas(const struct range_descriptor *descriptor) {
    struct census census = {0};
    for (uint32_t i = 0; i < descriptor->replica_count; i++)
        *(descriptor->replicas[i].role == RANGE_LEARNER ? &census.learners : &census.voters) += 1;
    return census;
}

static void add_change(struct order *order, enum range_replica_change_kind kind, uint64_t node_id) {
    if (order->change_count == CHANGES_MAX) return;
    order->changes[order->change_count++] = (struct range_replica_change){kind, node_id};
}

/* At random, as far as it leaves enough voters; *voters are those after it. */
static void change_one(struct sim *sim, struct order *order,
                       const struct range_descriptor *descriptor, uint64_t node_id,
                       uint32_t *voters) {
    const struct range_replica_ref *ref = range_descriptor_on_node(descriptor, node_id);
    uint32_t least = sim->config.careful_operator ? VOTERS_AT_THE_END : 1;
    uint64_t dice = prng_below(&sim->prng, 100);
    if (!ref) {
        if (dice < 60) add_change(order, RANGE_ADD_LEARNER, node_id);
    } else if (ref->role == RANGE_LEARNER) {
        if (dice < 75) ++*voters;
        add_change(order, dice < 75 ? RANGE_PROMOTE : RANGE_REMOVE, node_id);
    } else if (*voters > least && dice < (*voters > VOTERS_AT_THE_END ? 60 : 40)) {
        --*voters;
        add_change(order, dice % 3 == 0 ? RANGE_DEMOTE : RANGE_REMOVE, node_id);
    }
}

static void choose_changes(struct sim *sim, struct order *order,
                           const struct range_descriptor *descriptor) {
    uint32_t voters = count_replicas(descriptor).voters;
    uint32_t at_most = sim_chance(sim, 600) ? 1 : (uint32_t)prng_between(&sim->prng, 2, 4);
    uint32_t first = (uint32_t)prng_below(&sim->prng, sim->config.nodes);
    for (uint32_t i = 0; i < sim->config.nodes && order->change_count < at_most; i++) {
        uint64_t node_id = sim->nodes[(first + i) % sim->config.nodes].node_id;
        if (node_id != 0) change_one(sim, order, descriptor, node_id, &voters);
    }
}

/* Refused by whoever is asked, whatever the descriptor is by then. */
static void choose_nonsense(struct order *order) {
    order->nonsense = true;
    order->change_count = 0;
    add_change(order, RANGE_PROMOTE, 77);
}

static void disturb(struct sim *sim) {
    struct order order = {.range_id = prng_between(&sim->prng, 1, sim->config.ranges)};
    struct sim_node *node = sim_rules_leader(sim, order.range_id);
    if (!node || sim_chance(sim, 100))
        node = &sim->nodes[prng_below(&sim->prng, sim->config.nodes)];
    const struct range_replica *replica = sim_replica_on(node, order.range_id);
    if (!replica) return;
    order.epoch = replica->descriptor.epoch;
    if (sim_chance(sim, 50)) {
        choose_nonsense(&order);
    } else if (replica->descriptor.joint) {
        if (sim_chance(sim, 700)) return; /* else it has to wait, or is refused */
        add_change(&order, RANGE_REMOVE, replica->descriptor.replicas[0].node_id);
    } else {
        choose_changes(sim, &order, &replica->descriptor);
    }
    if (sim_chance(sim, 50)) {
        /* Who is careful has counted the voters of no version to come. */
        bool later = sim_chance(sim, 500) && !sim->config.careful_operator;
        order.epoch.conf_version += later ? 1 : UINT64_MAX;
        order.nonsense = true; /* it may be the present one by then, and the changes unfit */
    }
    if (order.change_count > 0) give(sim, &order, node);
}

/* ---- order in the end ---- */

static uint64_t some_node_with(const struct range_descriptor *descriptor,
                               enum range_replica_role role) {
    for (uint32_t i = 0; i < descriptor->replica_count; i++)
        if (descriptor->replicas[i].role == role) return descriptor->replicas[i].node_id;
    return 0;
}

static uint64_t some_node_without(const struct sim *sim,
                                  const struct range_descriptor *descriptor) {
    for (uint32_t i = 0; i < sim->config.nodes; i++) {
        uint64_t node_id = sim->nodes[i].node_id;
        if (node_id != 0 && !range_descriptor_on_node(descriptor, node_id)) return node_id;
    }
    return 0;
}

static bool is_tidy(const struct range_descriptor *descriptor) {
    struct census census = count_replicas(descriptor);
    return !descriptor->joint && census.learners == 0 && census.voters == VOTERS_AT_THE_END;
}

static bool is_asked(const struct sim *sim, uint64_t range_id) {
    for (uint32_t i = 0; i < ORDERS_MAX; i++) {
        const struct order *order = sim->operator->orders[i];
        if (order && order->range_id == range_id) return true;
    }
    return false;
}

static void tidy(struct sim *sim, uint64_t range_id) {
    struct sim_node *leader = sim_rules_leader(sim, range_id);
    if (!leader || is_asked(sim, range_id)) return;
    const struct range_descriptor *descriptor = &sim_replica_on(leader, range_id)->descriptor;
    if (descriptor->joint || is_tidy(descriptor)) return;
    struct census census = count_replicas(descriptor);
    struct order order = {.range_id = range_id, .epoch = descriptor->epoch};
    if (census.voters > VOTERS_AT_THE_END)
        add_change(&order, RANGE_REMOVE, some_node_with(descriptor, RANGE_VOTER));
    else if (census.learners > 0)
        add_change(&order, census.voters < VOTERS_AT_THE_END ? RANGE_PROMOTE : RANGE_REMOVE,
                   some_node_with(descriptor, RANGE_LEARNER));
    else
        add_change(&order, RANGE_ADD_LEARNER, some_node_without(sim, descriptor));
    give(sim, &order, leader);
}

bool sim_operator_tidied(struct sim *sim) {
    if (!sim->operator) return true;
    sim->operator->tidying = true;
    for (uint32_t i = 0; i < ORDERS_MAX; i++)
        if (sim->operator->orders[i]) return false;
    for (uint64_t range_id = 1; range_id <= sim->config.ranges; range_id++) {
        const struct sim_node *leader = sim_rules_leader(sim, range_id);
        if (!leader) return false;
        const struct range_descriptor *descriptor = &sim_replica_on(leader, range_id)->descriptor;
        if (!is_tidy(descriptor) ||
            descriptor->epoch.conf_version < sim->operator->acknowledged[range_id])
            return false;
    }
    return true;
}

/* ---- life ---- */

static void act(struct sim *sim, struct sim_timer *timer) {
    uint64_t pause_us = sim->operator->tidying ? TIDYING_US : sim->config.order_pause_us;
    expire(sim);
    if (sim->hurting) disturb(sim);
    for (uint64_t range_id = 1; sim->operator->tidying && range_id <= sim->config.ranges;
         range_id++)
        tidy(sim, range_id);
    sim_timer_start(sim, timer, sim->now_us + sim_around(sim, pause_us));
}

void sim_operator_start(struct sim *sim) {
    if (sim->config.order_pause_us == 0) return;
    sim->operator= MEMORY_NEW(struct sim_operator);
    sim->operator->timer.fire = act;
    sim_timer_start(sim, &sim->operator->timer, sim->now_us + sim->config.order_pause_us);
}

void sim_operator_free(struct sim *sim) {
    if (!sim->operator) return;
    for (uint32_t i = 0; i < ORDERS_MAX; i++)
        if (sim->operator->orders[i]) close_order(sim, sim->operator->orders[i]);
    memory_free(sim->operator);
}
