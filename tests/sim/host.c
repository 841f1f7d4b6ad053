/* Machines: clocks, and the life of processes. */
#include <setjmp.h>

#include "tests/sim/world.h"

#define WALL_MS_AT_START UINT64_C(1700000000000)

/* ---- clocks ---- */

uint64_t sim_host_now_us(const struct sim_host *host) {
    int64_t elapsed_us = (int64_t)(host->sim->now_us - host->clock_base_us);
    return host->clock_host_us + (uint64_t)(elapsed_us + elapsed_us * host->clock_ppm / 1000000);
}

uint64_t sim_host_when(const struct sim_host *host, uint64_t host_us) {
    if (host_us <= host->clock_host_us) return host->clock_base_us;
    if (host->clock_ppm <= -1000000) return UINT64_MAX;
    uint64_t wait_us = host_us - host->clock_host_us;
    /* One more: never before the clock shows it. */
    return host->clock_base_us + wait_us * 1000000 / (uint64_t)(1000000 + host->clock_ppm) + 1;
}

void sim_host_set_ppm(struct sim_host *host, int64_t ppm) {
    host->clock_host_us = sim_host_now_us(host);
    host->clock_base_us = host->sim->now_us;
    host->clock_ppm = ppm;
}

void sim_host_clock_jump(struct sim_host *host, uint64_t by_us) {
    host->clock_host_us += by_us;
}

static uint64_t read_monotonic(void *ctx) {
    struct sim_host *host = ctx;
    if (host->stopped.reads == 0) return sim_host_now_us(host);
    if (--host->stopped.reads == 0) sim_host_take_backlog(host);
    return host->stopped.host_us;
}

uint64_t sim_wall_ms(const struct sim *sim) {
    return WALL_MS_AT_START + sim->night_ms + sim->now_us / 1000;
}

static uint64_t read_wall(void *ctx) {
    const struct sim_host *host = ctx;
    return (uint64_t)((int64_t)sim_wall_ms(host->sim) + host->wall_jump_ms) + host->wall_leap_ms;
}

/* ---- processes ---- */

/* The process whose code runs, and the way out of it. */
static struct {
    struct sim_host *host; /* NULL: the world's own code runs */
    jmp_buf before;
} running;

/* The end of a process by fatal(). One whose disk is well has no reason to end: then it is a bug,
 * and fatal() goes on to abort. Where disks lie, replicas find out and stop. */
static void process_fails(const char *reason) {
    struct sim_host *host = running.host;
    if (!host || (!sim_disk_failed(host) && !host->sim->options.disks_lie)) return;
    sim_note(host->sim, "%s", reason);
    longjmp(running.before, 1);
}

void sim_host_run(struct sim_host *host, void (*work)(struct sim_host *host, void *ctx),
                  void *ctx) {
    ASSERT(!running.host);
    fatal_set_handler(process_fails);
    running.host = host;
    if (setjmp(running.before) == 0) {
        work(host, ctx);
        running.host = NULL;
        if (host->up && sim_disk_failed(host))
            sim_broken(host->sim, "a process ends when its disk fails",
                       "host %u went on after a failed operation", host->index);
        return;
    }
    running.host = NULL;
    sim_host_stop(host, SIM_END_FAILURE);
    sim_timer_start(host->sim, &host->restart, host->sim->now_us + sim_around(host->sim, 500000));
}

static void take_turn(struct sim_host *host, void *ctx) {
    (void)ctx; /* a turn has nothing but the host */
    if (host->kind == SIM_NODE)
        sim_node_wake(CONTAINER_OF(host, struct sim_node, host));
    else if (host->kind == SIM_MEMBER)
        sim_member_wake(CONTAINER_OF(host, struct sim_member, host));
    else
        sim_router_wake(CONTAINER_OF(host, struct sim_router, host));
}

static void wake(struct sim *sim, struct sim_timer *timer) {
    struct sim_host *host = CONTAINER_OF(timer, struct sim_host, wake);
    ASSERT(host->up && !host->paused);
    sim_trace(sim, UINT64_C(1) << 40 | host->index, SLICE_EMPTY);
    sim_host_run(host, take_turn, NULL);
}

static void come_back(struct sim *sim, struct sim_timer *timer) {
    struct sim_host *host = CONTAINER_OF(timer, struct sim_host, restart);
    if (!host->up) sim_host_start(host);
}

void sim_host_init(struct sim *sim, struct sim_host *host, enum sim_host_kind kind,
                   uint32_t number) {
    host->sim = sim;
    host->kind = kind;
    host->number = number;
    host->index = sim->host_count;
    sim->hosts[sim->host_count++] = host;
    host->clock_host_us = SIM_SECOND_US + prng_below(&sim->prng, 1000 * SIM_SECOND_US);
    host->clock_base_us = sim->now_us;
    host->clock = (struct clock){.ctx = host, .monotonic_us = read_monotonic, .wall_ms = read_wall};
    if (kind != SIM_ROUTER) host->engine = memory_engine_new();
    host->sync_us = sim->config.sync_us;
    host->wake.fire = wake;
    host->restart.fire = come_back;
    list_init(&host->backlog);
}

static void begin(struct sim_host *host, void *ctx) {
    (void)ctx;
    if (host->kind == SIM_NODE)
        sim_node_start(CONTAINER_OF(host, struct sim_node, host));
    else if (host->kind == SIM_MEMBER)
        sim_member_start(CONTAINER_OF(host, struct sim_member, host));
    else
        sim_router_start(CONTAINER_OF(host, struct sim_router, host));
}

void sim_host_start(struct sim_host *host) {
    static const char *const names[] = {"node", "placement", "router"};
    ASSERT(!host->up);
    host->up = true;
    host->incarnation++;
    sim_timer_stop(host->sim, &host->restart);
    sim_note(host->sim, "%s %u: starts, incarnation %u", names[host->kind], host->number,
             (unsigned)host->incarnation);
    sim_disk_process_starts(host);
    sim_host_run(host, begin, NULL);
}

static void drop_backlog(struct sim_host *host) {
    struct list_node *node;
    while ((node = list_pop_front(&host->backlog)) != NULL) {
        host->sim->messages_under_way--;
        sim_message_free(CONTAINER_OF(node, struct sim_message, in_backlog));
    }
}

void sim_host_stop(struct sim_host *host, enum sim_end end) {
    static const char *const names[] = {"node", "placement", "router"};
    static const char *const ends[] = {"is killed", "loses power", "stops"};
    ASSERT(host->up);
    host->up = host->paused = false; /* first: what the process still says is not sent */
    host->stopped.reads = 0;
    host->stopped.turn = false;
    sim_note(host->sim, "%s %u: %s", names[host->kind], host->number, ends[end]);
    struct sim_life *life = &host->sim->life;
    *(end == SIM_END_KILL    ? &life->kills
      : end == SIM_END_CRASH ? &life->crashes
                             : &life->disk_failures) += 1;
    sim_timer_stop(host->sim, &host->wake);
    drop_backlog(host);
    if (host->kind == SIM_NODE)
        sim_node_stop(CONTAINER_OF(host, struct sim_node, host), end);
    else if (host->kind == SIM_MEMBER)
        sim_member_stop(CONTAINER_OF(host, struct sim_member, host), end);
    else
        sim_router_stop(CONTAINER_OF(host, struct sim_router, host));
    if (host->engine) sim_disk_process_ended(host, end);
}

void sim_host_look_at_clock(struct sim_host *host) {
    if (host->up && !host->paused) sim_timer_start(host->sim, &host->wake, host->sim->now_us);
}

static void go_on(struct sim_host *host, void *ctx) {
    (void)ctx;
    sim_node_go_on(CONTAINER_OF(host, struct sim_node, host));
}

void sim_host_pause(struct sim_host *host, bool paused) {
    struct sim *sim = host->sim;
    if (!host->up || host->paused == paused) return;
    host->paused = paused;
    sim_note(sim, "host %u: %s", host->index, paused ? "paused" : "goes on");
    if (paused) {
        sim->life.pauses++;
        host->stopped.host_us = sim_host_now_us(host);
        host->stopped.began_us = sim->now_us;
        sim_timer_stop(sim, &host->wake);
        return;
    }
    if (host->kind == SIM_NODE && sim_chance(sim, 500)) sim_host_run(host, go_on, NULL);
    if (!host->up) return; /* its disk failed in the rest of that turn */
    /* A turn may come before the messages that waited are read, or among them. */
    sim_timer_start(sim, &host->wake, sim->now_us + prng_below(&sim->prng, 50));
    struct list_node waited;
    list_init(&waited);
    struct list_node *node;
    while ((node = list_pop_front(&host->backlog)) != NULL)
        list_push_back(&waited, node);
    while ((node = list_pop_front(&waited)) != NULL) {
        struct sim_message *message = CONTAINER_OF(node, struct sim_message, in_backlog);
        uint64_t at_us = sim->now_us + prng_below(&sim->prng, 100);
        sim_timer_start(sim, &message->timer, sim_stream_turn(sim, message, at_us));
    }
}

void sim_host_take_backlog(struct sim_host *host) {
    struct list_node *node;
    while (host->up && (node = list_pop_front(&host->backlog)) != NULL)
        sim_deliver_inside(host->sim, CONTAINER_OF(node, struct sim_message, in_backlog));
}
