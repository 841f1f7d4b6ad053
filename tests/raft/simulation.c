/* Virtual time, the network, and the two phases. */
#include "tests/raft/simulation.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/codec.h"
#include "base/memory.h"
#include "raft/message_codec.h"
#include "tests/raft/simulation_world.h"

#define STORM_US 4000000u
#define CALM_US_MAX 5000000u
#define CLIENT_US 4000u

/* ---- small things ---- */

bool sim_chance(struct sim_world *world, uint64_t percent) {
    return prng_below(&world->prng, 100) < percent;
}

static void describe_node(struct sim_world *world, const struct sim_node *node) {
    char *text = world->result.reason;
    size_t used = strlen(text), left = sizeof(world->result.reason) - used;
    if (!node->raft) {
        (void)snprintf(text + used, left, "\n  %lu: down", (unsigned long)node->id);
        return;
    }
    struct raft_view view;
    raft_view(node->raft, &view);
    int more = snprintf(text + used, left,
                        "\n  %lu: role %d term %lu vote %lu leader %lu commit %lu applied %lu log "
                        "%lu..%lu transfer %lu %s voters",
                        (unsigned long)node->id, (int)view.role, (unsigned long)view.term,
                        (unsigned long)view.vote, (unsigned long)view.leader,
                        (unsigned long)view.commit, (unsigned long)view.applied,
                        (unsigned long)view.first_index, (unsigned long)view.last_index,
                        (unsigned long)view.transfer_target, view.quiet ? "quiet" : "awake");
    const struct raft_id_set *sets[] = {&view.conf.voters, &view.conf.voters_outgoing,
                                        &view.conf.learners};
    for (size_t set = 0; set < 3 && more >= 0; set++) {
        used = strlen(text);
        left = sizeof(world->result.reason) - used;
        more = snprintf(text + used, left, "%s", set ? " /" : "");
        for (uint32_t at = 0; at < sets[set]->count; at++) {
            used = strlen(text);
            left = sizeof(world->result.reason) - used;
            more = snprintf(text + used, left, " %lu", (unsigned long)sets[set]->ids[at]);
        }
    }
}

void sim_fail(struct sim_world *world, const struct sim_node *node, const char *format, ...) {
    if (world->result.failed) return; /* the first broken rule is the one to look at */
    world->result.failed = true;
    int used =
        snprintf(world->result.reason, sizeof(world->result.reason),
                 "seed %llu at %llu us, replica %llu: ", (unsigned long long)world->options.seed,
                 (unsigned long long)world->now_us, node ? (unsigned long long)node->id : 0);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(world->result.reason + used, sizeof(world->result.reason) - (size_t)used,
                    format, arguments); /* cut off is fine */
    va_end(arguments);
    for (uint32_t at = 0; at < SIM_NODES; at++) {
        describe_node(world, &world->nodes[at]);
    }
}

struct sim_node *sim_node_of(struct sim_world *world, uint64_t id) {
    ASSERT(id >= 1 && id <= SIM_NODES);
    return &world->nodes[id - 1];
}

uint64_t sim_clock_at(const struct sim_node *node, uint64_t virtual_us) {
    int64_t drift = (int64_t)virtual_us * node->clock_rate_ppm / 1000000;
    return node->clock_offset_us + virtual_us + (uint64_t)drift;
}

uint64_t sim_clock_us(const struct sim_world *world, const struct sim_node *node) {
    return sim_clock_at(node, world->now_us);
}

static void fold(struct sim_world *world, uint64_t number) {
    uint64_t mixed[2] = {world->result.hash, number};
    world->result.hash = checksum64(slice_make(mixed, sizeof(mixed)));
}

/* ---- events ---- */

static bool before(const struct sim_event *a, const struct sim_event *b) {
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void sim_schedule(struct sim_world *world, struct sim_event event, uint64_t in_us) {
    if (world->event_count == world->event_cap) {
        world->event_cap = world->event_cap ? world->event_cap * 2 : 256;
        world->events = memory_realloc(world->events, world->event_cap * sizeof(*world->events));
    }
    event.at_us = world->now_us + in_us;
    event.order = world->orders++;
    if (event.node) event.generation = sim_node_of(world, event.node)->generation;
    size_t slot = world->event_count++;
    for (; slot > 0 && before(&event, &world->events[(slot - 1) / 2]); slot = (slot - 1) / 2) {
        world->events[slot] = world->events[(slot - 1) / 2];
    }
    world->events[slot] = event;
}

static struct sim_event next_event(struct sim_world *world) {
    ASSERT_CMP(world->event_count, >, 0);
    struct sim_event first = world->events[0];
    struct sim_event last = world->events[--world->event_count];
    size_t slot = 0;
    for (;;) {
        size_t child = 2 * slot + 1;
        if (child >= world->event_count) break;
        if (child + 1 < world->event_count &&
            before(&world->events[child + 1], &world->events[child])) {
            child++;
        }
        if (!before(&world->events[child], &last)) break;
        world->events[slot] = world->events[child];
        slot = child;
    }
    world->events[slot] = last;
    return first;
}

/* ---- the network ---- */

struct raft_message sim_message_copy(const struct raft_message *message) {
    struct raft_message copy = *message;
    copy.entries = NULL;
    if (message->entry_count > 0) {
        copy.entries = memory_alloc(message->entry_count * sizeof(*copy.entries));
        for (uint32_t at = 0; at < message->entry_count; at++) {
            copy.entries[at] = message->entries[at];
            (void)payload_ref(copy.entries[at].payload); /* the same pointer comes back */
        }
    }
    if (message->snapshot) copy.snapshot = raft_snapshot_copy(message->snapshot);
    return copy;
}

void sim_message_free(struct raft_message *message) {
    for (uint32_t at = 0; at < message->entry_count; at++) {
        payload_unref(message->entries[at].payload);
    }
    memory_free(message->entries);
    raft_snapshot_free(message->snapshot);
}

/* Some messages take the way over their bytes. */
static struct raft_message over_the_wire(const struct raft_message *message) {
    struct buf bytes = {0};
    struct arena arena;
    arena_init(&arena, 0);
    raft_encode_message(&bytes, message);
    struct decoder in = decoder_make(slice_from_buf(&bytes));
    struct raft_message decoded;
    enum status status = raft_decode_message(&in, &arena, &decoded);
    ASSERT(status == STATUS_OK && decoder_finished(&in));
    struct raft_message copy = sim_message_copy(&decoded);
    raft_message_done(&decoded);
    arena_done(&arena);
    buf_done(&bytes);
    return copy;
}

uint64_t sim_delay_us(struct sim_world *world) {
    uint64_t delay = 50 + prng_below(&world->prng, 1500);
    if (world->calm) return delay;
    if (sim_chance(world, 5)) delay += prng_below(&world->prng, 30000);
    if (sim_chance(world, 1)) delay += prng_below(&world->prng, 400000);
    return delay;
}

/* Requests and answers of elections that overtake each other, and arrive when the leader is back:
 * each of them may then meet another term, role or promise than it was meant for. */
static uint64_t message_delay_us(struct sim_world *world, const struct raft_message *message) {
    bool election = message->kind >= RAFT_MSG_VOTE && message->kind <= RAFT_MSG_PRE_VOTE_RESPONSE;
    bool may_linger = election && !world->calm && world->options.linger_percent > 0;
    if (!may_linger || !sim_chance(world, world->options.linger_percent))
        return sim_delay_us(world);
    return prng_below(&world->prng, 2 * SIM_ELECTION_TICKS * SIM_TICK_US);
}

static void send_once(struct sim_world *world, const struct raft_message *message) {
    struct sim_event event = {.kind = SIM_MESSAGE, .node = message->to};
    event.message =
        prng_below(&world->prng, 8) == 0 ? over_the_wire(message) : sim_message_copy(message);
    sim_schedule(world, event, message_delay_us(world, message));
}

void sim_network_send(struct sim_world *world, const struct raft_message *message) {
    world->sent++;
    bool lost = world->blocked[message->from][message->to] ||
                sim_chance(world, world->options.loss_percent);
    if (message->kind == RAFT_MSG_SNAPSHOT) {
        /* Whoever carries snapshots says how it went. */
        sim_schedule(world,
                     (struct sim_event){.kind = SIM_SNAPSHOT_REPORT,
                                        .node = message->from,
                                        .about = message->to,
                                        .failed = lost},
                     sim_delay_us(world) * 2);
    }
    if (lost) return;
    send_once(world, message);
    if (sim_chance(world, world->options.duplicate_percent)) send_once(world, message);
}

/* ---- clients ---- */

static void client(struct sim_world *world) {
    sim_schedule(world, (struct sim_event){.kind = SIM_CLIENT}, CLIENT_US);
    if (world->now_us < world->idle_until_us) return;
    if (world->options.quiesce && !world->calm && prng_below(&world->prng, 40) == 0) {
        world->idle_until_us = world->now_us + prng_below(&world->prng, 600000);
    }
    struct sim_node *node = &world->nodes[prng_below(&world->prng, SIM_NODES)];
    if (world->calm || sim_chance(world, 70)) {
        for (uint32_t at = 0; at < SIM_NODES; at++) {
            struct sim_node *other = &world->nodes[at];
            if (other->raft && raft_role(other->raft) == RAFT_LEADER &&
                !(node->raft && raft_role(node->raft) == RAFT_LEADER &&
                  raft_term(node->raft) > raft_term(other->raft))) {
                node = other;
            }
        }
    }
    if (!node->raft || node->paused_until_us > world->now_us) return;
    if (sim_chance(world, 60)) {
        sim_node_propose(world, node, prng_next(&world->prng));
    } else {
        sim_node_read(world, node);
    }
    sim_node_drain(world, node);
}

/* ---- the run ---- */

static void release_event(struct sim_event *event) {
    if (event->kind == SIM_MESSAGE) sim_message_free(&event->message);
}

static void hold(struct sim_node *node, const struct sim_event *event) {
    if (node->held_count == node->held_cap) {
        node->held_cap = node->held_cap ? node->held_cap * 2 : 64;
        node->held = memory_realloc(node->held, node->held_cap * sizeof(*node->held));
    }
    node->held[node->held_count++] = *event;
}

/* What piled up while a process was stopped reaches it in one go, with the clock read afterwards.
 */
static void resume(struct sim_world *world, struct sim_node *node) {
    if (node->paused_until_us > world->now_us) return; /* stopped again meanwhile */
    node->paused_until_us = 0;
    struct sim_event *held = node->held;
    size_t count = node->held_count;
    node->held = NULL;
    node->held_count = node->held_cap = 0;
    /* Messages and timers come out of different queues: often all ticks come last. */
    bool ticks_last = sim_chance(world, 50);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t at = 0; at < count; at++) {
            bool later = ticks_last && held[at].kind == SIM_TICK;
            if (later != (pass == 1)) continue;
            if (node->raft && held[at].generation == node->generation) {
                sim_node_event(world, node, &held[at]);
            }
            release_event(&held[at]);
        }
    }
    memory_free(held);
}

/* Returns whether the event is to be released. */
static bool node_event(struct sim_world *world, struct sim_event *event) {
    struct sim_node *node = sim_node_of(world, event->node);
    if (event->kind == SIM_RESTART) {
        if (!node->raft) sim_node_start(world, node);
        return true;
    }
    if (event->kind == SIM_RESUME) {
        resume(world, node);
        return true;
    }
    bool comes_by_network = event->kind == SIM_MESSAGE || event->kind == SIM_BEAT;
    if (comes_by_network) {
        uint64_t from = event->kind == SIM_BEAT ? event->about : event->message.from;
        if (world->blocked[from][event->node]) return true;
        event->generation = node->generation; /* the network does not know of restarts */
    }
    if (!node->raft || event->generation != node->generation) return true;
    if (node->paused_until_us > world->now_us) {
        hold(node, event);
        return false;
    }
    sim_node_event(world, node, event);
    return true;
}

void sim_step(struct sim_world *world) {
    struct sim_event event = next_event(world);
    world->now_us = event.at_us;
    world->result.events++;
    fold(world, event.at_us * 31 + event.node * 7 + (uint64_t)event.kind);
    if (event.kind == SIM_MESSAGE) fold(world, event.message.term * 131 + event.message.log.index);
    bool release = true;
    if (event.kind == SIM_CLIENT) {
        client(world);
    } else if (event.kind == SIM_FAULT) {
        if (!world->calm) sim_fault(world);
    } else if (event.kind == SIM_RECONNECT) {
        sim_reconnect(world, event.about);
    } else {
        release = node_event(world, &event);
    }
    if (release) release_event(&event);
}

static bool caught_up(struct sim_world *world) {
    if (world->calm_ack == 0 || world->calm_read < 3) return false;
    const struct sim_node *leader = NULL;
    for (uint32_t at = 0; at < SIM_NODES; at++) {
        const struct sim_node *node = &world->nodes[at];
        if (node->raft && raft_role(node->raft) == RAFT_LEADER &&
            (!leader || raft_term(node->raft) > raft_term(leader->raft))) {
            leader = node;
        }
    }
    if (!leader) return false;
    struct raft_id_set members;
    raft_conf_state_members(&leader->conf, &members);
    for (uint32_t at = 0; at < members.count; at++) {
        if (sim_node_of(world, members.ids[at])->applied < world->calm_ack) return false;
    }
    return true;
}

static void birth(struct sim_world *world) {
    prng_init(&world->prng, world->options.seed);
    sim_rules_begin(world);
    uint32_t born = world->options.membership ? 3 : SIM_NODES - 2 * (world->options.seed & 1);
    for (uint32_t at = 0; at < SIM_NODES; at++) {
        struct sim_node *node = &world->nodes[at];
        node->id = at + 1;
        node->clock_offset_us = 1 + prng_below(&world->prng, 1000000000);
        uint64_t spread = world->options.drift_ppm / 2; /* two clocks differ by twice that */
        node->clock_rate_ppm = (int64_t)prng_below(&world->prng, 2 * spread + 1) - (int64_t)spread;
        /* Others exist from the start but know of nobody: they come in by membership changes. */
        if (at < born) {
            struct raft_conf_state conf = {0};
            for (uint64_t id = 1; id <= born; id++) {
                bool fits = raft_id_set_add(&conf.voters, id);
                ASSERT(fits);
            }
            disk_install(&node->disk, SIM_BIRTH, &conf);
            node->disk.hard_state = (struct raft_hard_state){SIM_BIRTH.term, 0, SIM_BIRTH.index};
        }
        sim_node_start(world, node);
    }
    sim_schedule(world, (struct sim_event){.kind = SIM_CLIENT}, CLIENT_US);
    sim_schedule(world, (struct sim_event){.kind = SIM_FAULT}, 100000);
}

static void death(struct sim_world *world) {
    for (uint32_t at = 0; at < SIM_NODES; at++) {
        struct sim_node *node = &world->nodes[at];
        for (size_t held = 0; held < node->held_count; held++) {
            release_event(&node->held[held]);
        }
        memory_free(node->held);
        sim_node_done(node);
    }
    for (size_t at = 0; at < world->event_count; at++) {
        release_event(&world->events[at]);
    }
    memory_free(world->events);
    sim_rules_done(world);
}

struct simulation_result simulation_run(const struct simulation_options *options) {
    struct sim_world *world = MEMORY_NEW(struct sim_world);
    world->options = *options;
    birth(world);
    while (!world->result.failed && world->now_us < STORM_US) {
        sim_step(world);
    }
    if (!world->result.failed) sim_calm(world);
    while (!world->result.failed && !caught_up(world)) {
        if (world->now_us > world->calm_from + CALM_US_MAX) {
            sim_fail(world, NULL, "no progress although nothing is wrong any more");
            break;
        }
        sim_step(world);
    }
    if (!world->result.failed && world->options.quiesce) sim_check_quiet(world);
    if (!world->result.failed) sim_check_logs(world);
    struct simulation_result result = world->result;
    result.commits = world->decided_count;
    death(world);
    memory_free(world);
    return result;
}

struct simulation_options simulation_options_of(uint64_t seed) {
    struct prng prng;
    prng_init(&prng, seed ^ UINT64_C(0x5eed));
    struct simulation_options options = {.seed = seed};
    options.crashes = prng_below(&prng, 4) > 0;
    options.partitions = prng_below(&prng, 4) > 0;
    options.pauses = prng_below(&prng, 2) > 0;
    options.membership = prng_below(&prng, 2) > 0;
    options.transfers = prng_below(&prng, 2) > 0;
    options.compaction = prng_below(&prng, 2) > 0;
    options.loss_percent = (uint32_t)(prng_below(&prng, 3) * prng_below(&prng, 8));
    options.duplicate_percent = (uint32_t)(prng_below(&prng, 2) * prng_below(&prng, 10));
    options.leases = prng_below(&prng, 3) > 0;
    options.drift_ppm = (uint32_t)prng_below(&prng, prng_below(&prng, 3) ? 20000 : 200000);
    options.quiesce = prng_below(&prng, 2) > 0;
    options.linger_percent = (uint32_t)(prng_below(&prng, 2) * (20 + prng_below(&prng, 60)));
    options.time_outs_differ = prng_below(&prng, 3) == 0;
    return options;
}
