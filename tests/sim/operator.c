/* An operator who changes the replicas of ranges: adds learners where there is no replica, promotes
 * and demotes, removes, one at a time or several in one joint step, leaders among them, while the
 * nemesis does the rest. She asks whichever node leads as far as she knows, sometimes another one,
 * or a router, now and then with an epoch that is not the present one, asks again what nobody
 * answered, and puts all in order in the end: three voters for each range, and nothing else. */
#include "tests/sim/operator.h"

#include <inttypes.h>

#define VOTERS_AT_THE_END 3u
#define TIDYING_US 100000u

/* ---- what she holds those to whom she asks ---- */

static const char *change_name(enum range_replica_change_kind kind) {
    static const char *const names[] = {"?", "add learner", "promote", "remove", "demote"};
    return names[kind];
}

void sim_order_note(struct sim *sim, const struct order *order, const char *whom, uint32_t number) {
    struct buf text = {0};
    for (uint32_t i = 0; i < order->change_count; i++)
        buf_printf(&text, "%s %s %u", i ? "," : "", change_name(order->changes[i].kind),
                   (unsigned)order->changes[i].node_id);
    sim_note(sim, "range %u: %s %u is asked to%.*s, of version %u%s", (unsigned)order->range_id,
             whom, number, (int)text.len, (const char *)text.data,
             (unsigned)order->epoch.conf_version, order->again ? ", again" : "");
    buf_done(&text);
}

static void check_refused(struct sim *sim, uint64_t range_id, const struct ledger_entry *entry) {
    if (entry->refused && sim_rules_descriptor(sim, range_id, entry->version + 1))
        sim_broken(sim, "a change of replicas that was refused is not made",
                   "range %" PRIu64 ", of version %" PRIu64, range_id, entry->version);
}

/* NULL: what was asked for of that version is of no use any more. */
static struct ledger_entry *ledger_entry(struct sim *sim, const struct order *order) {
    uint64_t version = order->epoch.conf_version;
    struct ledger_entry *entry = &sim->operator->ledger[order->range_id][version % LEDGER_VERSIONS];
    if (entry->version > version) return NULL;
    check_refused(sim, order->range_id, entry);
    if (entry->version < version) *entry = (struct ledger_entry){.version = version};
    return entry;
}

/* A joint configuration is left by itself. */
static bool waits_for_a_change(struct sim *sim, const struct order *order) {
    const struct range_descriptor *present =
        sim_rules_descriptor(sim, order->range_id, order->epoch.conf_version);
    return present && !present->joint &&
           !sim_rules_descriptor(sim, order->range_id, order->epoch.conf_version + 1);
}

void sim_order_asked(struct sim *sim, const struct order *order) {
    struct ledger_entry *entry = ledger_entry(sim, order);
    if (!entry) return;
    if (entry->asked++ == 0) entry->open = waits_for_a_change(sim, order);
    entry->refused = false;
}

void sim_order_refused(struct sim *sim, const struct order *order) {
    struct ledger_entry *entry = ledger_entry(sim, order);
    if (!entry || entry->asked != 1 || !entry->open) return;
    entry->refused = true;
    check_refused(sim, order->range_id, entry);
}

void sim_order_check_invalid(struct sim *sim, const struct order *order, struct slice text) {
    if (!order->nonsense)
        sim_broken(sim, "a change that fits the descriptor is not refused",
                   "range %" PRIu64 ": %.*s", order->range_id, (int)text.len,
                   (const char *)text.data);
}

static bool holds(const struct range_descriptor *descriptor, const struct order *order) {
    for (uint32_t i = 0; i < order->change_count; i++) {
        const struct range_replica_change *change = &order->changes[i];
        const struct range_replica_ref *ref = range_descriptor_on_node(descriptor, change->node_id);
        if (change->kind == RANGE_REMOVE ? ref != NULL : !ref) return false;
        if (ref && ref->role != (change->kind == RANGE_PROMOTE ? RANGE_VOTER : RANGE_LEARNER))
            return false;
    }
    return true;
}

/* A router does not say what it led to: it was the next version or, out of a joint configuration,
 * the one behind that. */
void sim_order_done(struct sim *sim, const struct order *order,
                    const struct range_descriptor *descriptor) {
    uint64_t version = order->epoch.conf_version;
    bool told = descriptor != NULL;
    if (!told) descriptor = sim_rules_descriptor(sim, order->range_id, version + 1);
    if (!told && descriptor && descriptor->joint)
        descriptor = sim_rules_descriptor(sim, order->range_id, version + 2);
    if (!descriptor || descriptor->joint || descriptor->epoch.conf_version <= version ||
        !holds(descriptor, order))
        sim_broken(sim, "a change of replicas that is done is in the descriptor",
                   "range %" PRIu64 ", asked of version %" PRIu64 ", there is %" PRIu64,
                   order->range_id, version, descriptor ? descriptor->epoch.conf_version : 0);
    version = descriptor->epoch.conf_version;
    sim_note(sim, "range %u: replicas are changed, version %u", (unsigned)order->range_id,
             (unsigned)version);
    sim->life.changes++;
    uint64_t *acknowledged = &sim->operator->acknowledged[order->range_id];
    if (version > *acknowledged) *acknowledged = version;
}

static void ask(struct sim *sim, const struct order *order, struct sim_node *node) {
    if (sim_chance(sim, 500))
        sim_errand_change(sim, order);
    else
        sim_order_give(sim, order, node);
}

void sim_order_unknown(struct sim *sim, const struct order *order) {
    struct order again = *order;
    again.again = true;
    if (!order->nonsense && sim_chance(sim, 500))
        ask(sim, &again, sim_rules_leader(sim, again.range_id));
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
    if (order.change_count > 0) ask(sim, &order, node);
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

static void tidy(struct sim *sim, uint64_t range_id) {
    struct sim_node *leader = sim_rules_leader(sim, range_id);
    if (!leader || sim_range_is_ordered(sim, range_id)) return;
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
    ask(sim, &order, leader);
}

bool sim_operator_tidied(struct sim *sim) {
    if (!sim->operator) return true;
    sim->operator->tidying = true;
    if (sim->errands > 0 || sim_range_is_ordered(sim, 0)) return false;
    for (uint64_t range_id = 1; range_id <= sim->config.ranges; range_id++) {
        for (uint32_t i = 0; i < LEDGER_VERSIONS; i++)
            check_refused(sim, range_id, &sim->operator->ledger[range_id][i]);
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
    sim_orders_expire(sim);
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
    sim_orders_free(sim);
    memory_free(sim->operator);
}
