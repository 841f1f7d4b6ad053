/* The loop, the phases of a run, and what is said when a rule is broken.
 *
 * Phases, after TigerBeetle's: first the cluster is hurt, and only safety is asked of it; then a
 * majority is healed, and everything that was asked must come to an end within bounded virtual
 * time; then all is healed, everything is read again, and the replicas must agree. */
#include "tests/sim/sim.h"

#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "range/metrics.h"
#include "tests/sim/world.h"

#define PEACE_AT_START_US (3 * SIM_SECOND_US / 2)
#define FINISH_US (30 * SIM_SECOND_US)
#define NOTES_KEPT 80u
#define NOTE_BYTES 320u
#define MESSAGES_MAX 200000u
#define MEMORY_MAX_MIB 96u /* of the whole world; most need a tenth of it */

/* The run under way, for the report of an assertion; and its last notes. */
static struct sim *current;
static char notes[NOTES_KEPT][NOTE_BYTES];
static uint64_t note_count;

/* ---- reports ---- */

void sim_note(struct sim *sim, const char *format, ...) {
    char *line = notes[note_count++ % NOTES_KEPT];
    va_list arguments;
    int len = snprintf(line, NOTE_BYTES, "%4" PRIu64 ".%06" PRIu64 "  ",
                       sim->now_us / SIM_SECOND_US, sim->now_us % SIM_SECOND_US);
    va_start(arguments, format);
    (void)vsnprintf(line + len, NOTE_BYTES - (size_t)len, format, arguments); /* cut is fine */
    va_end(arguments);
    if (sim->options.verbose) fprintf(stderr, "%s\n", line);
}

/* Also called by on_signal, which says why that is right. NOLINTBEGIN(bugprone-signal-handler) */
static void report(const char *rule, const char *text) {
    const struct sim *sim = current;
    uint64_t first = note_count > NOTES_KEPT ? note_count - NOTES_KEPT : 0;
    fprintf(stderr, "\nseed %" PRIu64 ", scenario %s: broken rule: %s\n    %s\n", sim->options.seed,
            sim->options.scenario, rule, text);
    fprintf(stderr, "at %" PRIu64 ".%06" PRIu64 " s; what came before:\n",
            sim->now_us / SIM_SECOND_US, sim->now_us % SIM_SECOND_US);
    for (uint64_t i = first; i < note_count; i++)
        fprintf(stderr, "    %s\n", notes[i % NOTES_KEPT]);
    fprintf(stderr,
            "replay: ./dev sim --from %" PRIu64 " --seeds 1 --scenario %s --seconds %" PRIu64
            " --verbose\n",
            sim->options.seed, sim->options.scenario, sim->options.hurt_us / SIM_SECOND_US);
    fflush(stderr);
}
/* NOLINTEND(bugprone-signal-handler) */

void sim_broken(struct sim *sim, const char *rule, const char *format, ...) {
    char text[512];
    va_list arguments;
    ASSERT(sim == current);
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments); /* cut is fine */
    va_end(arguments);
    report(rule, text);
    _exit(SIM_EXIT_BROKEN);
}

/* An assertion of the production code, or no end. Not everything used here is safe in a signal
 * handler, but the process is lost anyway, and what it can still say is worth the attempt. */
static void on_signal(int number) {
    report(number == SIGALRM ? "a run ends" : "assertions hold",
           number == SIGALRM ? "no end was in sight"
                             : "the process was aborted; see the line above");
    _exit(SIM_EXIT_BROKEN);
}

/* ---- time and chance ---- */

void sim_timer_start(struct sim *sim, struct sim_timer *timer, uint64_t at_us) {
    if (timer->at.slot != 0) {
        if (timer->at.key == at_us) return;
        heap_remove(&sim->timers, &timer->at);
    }
    heap_push(&sim->timers, &timer->at, at_us);
}

void sim_timer_stop(struct sim *sim, struct sim_timer *timer) {
    heap_remove(&sim->timers, &timer->at);
}

void sim_trace(struct sim *sim, uint64_t what, struct slice bytes) {
    sim->trace_hash = checksum64_seeded(bytes, sim->trace_hash * 31 + what + (sim->now_us << 8));
}

bool sim_chance(struct sim *sim, uint32_t per_mille) {
    return per_mille > 0 && prng_below(&sim->prng, 1000) < per_mille;
}

uint64_t sim_around(struct sim *sim, uint64_t value) {
    return value / 2 + prng_below(&sim->prng, value + 1) + (sim_chance(sim, 20) ? value : 0);
}

/* False: nothing more is due by end_us. */
static bool step(struct sim *sim, uint64_t end_us) {
    struct heap_node *first = heap_min(&sim->timers);
    if (!first || first->key > end_us) {
        sim->now_us = end_us;
        return false;
    }
    heap_pop(&sim->timers);
    ASSERT_CMP(first->key, >=, sim->now_us);
    sim->now_us = first->key;
    sim->events++;
    struct sim_timer *timer = CONTAINER_OF(first, struct sim_timer, at);
    timer->fire(sim, timer);
    return true;
}

static void look_at_memory(struct sim *sim) {
    struct mallinfo2 heap = mallinfo2(); /* zeros under a sanitizer */
    uint64_t mib = (heap.uordblks + heap.hblkhd) >> 20;
    if (mib > sim->life.memory_mib) sim->life.memory_mib = mib;
    if (mib > MEMORY_MAX_MIB)
        sim_broken(sim, "memory does not grow without bound", "%" PRIu64 " MiB are in use", mib);
}

static void run_us(struct sim *sim, uint64_t us) {
    uint64_t end_us = sim->now_us + us;
    while (step(sim, end_us)) {
    }
    if (sim->messages_under_way > MESSAGES_MAX)
        sim_broken(sim, "no queue grows without bound", "%" PRIu64 " messages are under way",
                   sim->messages_under_way);
    /* It walks the whole heap: not at every wait of a few milliseconds. */
    if (sim->now_us < sim->memory_seen_us + SIM_SECOND_US) return;
    sim->memory_seen_us = sim->now_us;
    look_at_memory(sim);
}

static bool clients_idle(struct sim *sim) {
    return sim_clients_idle(sim) && sim->errands == 0;
}

static void run_until(struct sim *sim, bool (*condition)(struct sim *sim), const char *rule) {
    uint64_t end_us = sim->now_us + FINISH_US;
    while (!condition(sim)) {
        if (sim->now_us >= end_us) {
            sim_clients_note_busy(sim);
            sim_members_note(sim);
            sim_rules_note_ranges(sim);
            sim_broken(sim, rule, "not within %u s of virtual time", FINISH_US / SIM_SECOND_US);
        }
        run_us(sim, 20000);
    }
}

/* Nobody asks for anything any more: what wakes the ranges is the silence of the node, and what
 * tells it of the terms it missed is that it is heard again. */
static void lose_a_leader(struct sim *sim) {
    static const char *const led = "ranges are led again after the loss of a node";
    uint64_t range_id = prng_between(&sim->prng, 1, sim->config.ranges);
    run_until(sim, sim_rules_led, "ranges that nobody uses keep a leader");
    struct sim_host *host = &sim_rules_leader(sim, range_id)->host;
    sim_host_stop(host, SIM_END_CRASH);
    run_until(sim, sim_rules_led, led);
    if (sim->config.quiesce_ticks > 0)
        run_until(sim, sim_rules_quiet, "ranges go quiet without a node that is lost");
    sim_host_start(host);
    run_until(sim, sim_rules_converged, "a node that was away while ranges rest catches up");
}

/* The end of a day: everybody is answered, and everything is switched off. In the morning the
 * clocks on the wall have gone on, and nobody knows for certain that they are right until enough of
 * them say the same. */
static void pass_night(struct sim *sim) {
    uint32_t machines = sim->config.nodes + sim->config.members;
    sim_nemesis_heal(sim, 0);
    sim_clients_rest(sim);
    run_until(sim, clients_idle, "with everybody healthy every request comes to an end");
    for (uint32_t i = 0; i < sim->host_count; i++) {
        sim_timer_stop(sim, &sim->hosts[i]->restart);
        if (sim->hosts[i]->up)
            sim_host_stop(sim->hosts[i], i < machines ? SIM_END_CRASH : SIM_END_KILL);
    }
    sim->night_ms = sim->config.night_hours * UINT64_C(3600000);
    sim_note(sim, "%u hours pass", sim->config.night_hours);
    for (uint32_t i = 0; i < sim->host_count; i++)
        sim_host_start(sim->hosts[i]);
    run_until(sim, sim_rules_led, "what was switched off goes on");
    run_until(sim, sim_rules_wall_believed, "right clocks are believed, however late it is");
    sim_clients_go_on(sim);
}

/* ---- the world ---- */

static void create(struct sim *sim) {
    sim->now_us = SIM_SECOND_US;
    prng_init(&sim->prng, sim->options.seed);
    sim_config_make(sim);
    sim_note(sim, "%u nodes, %u of placement, %u ranges, %u workers, %u clients, lease reads %s",
             sim->config.nodes, sim->config.members, sim->config.ranges, sim->config.workers,
             sim->config.clients, sim->config.lease_reads ? "on" : "off");
    sim_rules_new(sim);
    for (uint32_t i = 0; i < sim->config.nodes; i++) {
        memset(sim->nodes[i].uuid.bytes, (int)i + 1, sizeof(sim->nodes[i].uuid.bytes));
        sim_host_init(sim, &sim->nodes[i].host, SIM_NODE, i + 1);
    }
    for (uint32_t i = 0; i < sim->config.members; i++)
        sim_host_init(sim, &sim->members[i].host, SIM_MEMBER, i + 1);
    for (uint32_t i = 0; i < SIM_ROUTERS; i++)
        sim_host_init(sim, &sim->routers[i].host, SIM_ROUTER, i + 1);
    sim_clients_new(sim);
    for (uint32_t i = 0; i < sim->host_count; i++)
        sim_host_start(sim->hosts[i]);
}

static void destroy(struct sim *sim) {
    /* Routers last: they tell their clients, who then want a timer. */
    for (uint32_t i = 0; i < sim->host_count; i++) {
        struct sim_host *host = sim->hosts[i];
        if (host->up) sim_host_stop(host, SIM_END_KILL);
        if (host->engine) storage_close(host->engine);
    }
    struct heap_node *node;
    while ((node = heap_pop(&sim->timers)) != NULL) {
        struct sim_timer *timer = CONTAINER_OF(node, struct sim_timer, at);
        if (timer->drop) timer->drop(timer);
    }
    heap_done(&sim->timers);
    sim_operator_free(sim);
    sim_clients_free(sim);
    sim_rules_free(sim);
    memory_free(sim);
}

/* Of every node of this process; one run, mostly. */
static uint64_t metric_of(const struct metric *metric) {
    return (uint64_t)atomic_load(&metric->value);
}

/* One of three is a minority, but not of one or two, as which an operator may have left a range. */
static uint32_t nodes_away(struct sim *sim) {
    uint32_t away = (uint32_t)prng_below(&sim->prng, 2);
    return sim->operator&& !sim->config.careful_operator ? 0 : away;
}

void sim_run(const struct sim_options *options, struct sim_result *ret_result) {
    struct sim *sim = MEMORY_NEW(struct sim);
    sim->options = *options;
    current = sim;
    note_count = 0;
    (void)signal(SIGABRT, on_signal);
    (void)signal(SIGALRM, on_signal);
    create(sim);
    run_us(sim, PEACE_AT_START_US);
    sim_nemesis_start(sim);
    sim_operator_start(sim);
    if (sim->config.night_hours > 0) {
        run_us(sim, options->hurt_us / 2);
        pass_night(sim);
        sim_nemesis_start(sim);
    }
    run_us(sim, options->hurt_us);

    sim_nemesis_heal(sim, nodes_away(sim));
    sim_clients_finish(sim);
    run_until(sim, clients_idle, "with a healthy majority every request comes to an end");
    sim_nemesis_heal(sim, 0);
    run_until(sim, sim_operator_tidied, "every range gets the replicas that it should have");
    run_until(sim, sim_rules_removed_are_gone, "replicas that were removed are gone");
    sim_clients_verify_begin(sim);
    run_until(sim, clients_idle, "everything can be read in the end");
    run_until(sim, sim_rules_converged, "replicas catch up");
    sim_rules_compare_content(sim);
    run_until(sim, sim_rules_at_rest, "nothing is held for requests that are over");
    sim_rules_bounds(sim);
    if (sim->config.quiesce_ticks > 0)
        run_until(sim, sim_rules_quiet, "ranges that nobody uses go quiet");
    lose_a_leader(sim);
    *ret_result = (struct sim_result){0};
    sim_clients_judge(sim, &ret_result->histories, &ret_result->undecided);
    ret_result->trace_hash = sim->trace_hash;
    ret_result->life = sim->life;
    ret_result->life.snapshots = metric_of(&metric_range_snapshots_installed_total);
    ret_result->life.compacted = metric_of(&metric_range_log_entries_compacted_total);
    ret_result->life.reads_leased = metric_of(&metric_range_reads_leased_total);
    ret_result->life.reads_stale = metric_of(&metric_range_reads_stale_total);
    ret_result->life.busy = metric_of(&metric_range_refused_busy_total);
    ret_result->events = sim->events;
    ret_result->virtual_us = sim->now_us - SIM_SECOND_US;
    ret_result->operations = sim_clients_decided(sim);
    destroy(sim);
    current = NULL;
    (void)signal(SIGABRT, SIG_DFL);
}
