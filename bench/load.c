/* States of a slot, and the functions that move it:
 *
 *   FREE     --issue-->         SENT
 *   SENT     --attempt_done-->  FREE (decided or given up) or WAITING (to be sent again)
 *   WAITING  --bench_load_step--> SENT (its pause is over) or FREE (the time to settle is over)
 *
 * A free slot of a closed loop is due at once; one of an open loop serves the next arrival. */
#include "bench/load.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/memory.h"
#include "bench/limits.h"

enum slot_state { SLOT_FREE, SLOT_SENT, SLOT_WAITING };

struct slot {
    struct bench_load *load;
    uint32_t client;
    enum slot_state state;
    struct list_node free_node; /* FREE */
    struct heap_node wait_node; /* WAITING; key: when the pause is over */
    struct bench_op op;
    uint64_t intended_us; /* latency counts from here */
    uint32_t attempts;    /* so far, of this operation */
    bool maybe_done;      /* some attempt's outcome is unknown */
};

struct bench_load {
    struct bench_load_config config;
    struct bench_workload workload;
    struct bench_target target;
    const struct clock *clock;
    struct prng prng;
    struct slot *slots;
    uint32_t slot_count;
    struct list_node free;
    uint32_t free_count;
    struct heap waiting;
    bool started, stopped, watches; /* watches: a watched operation was issued */
    uint64_t started_us, stopped_us, last_decided_us, last_watched_us;
    struct bench_totals totals;
    struct histogram latency, interval;
    struct buf failure;
};

struct bench_load *bench_load_new(const struct bench_load_config *config,
                                  const struct bench_workload *workload,
                                  const struct bench_target *target, const struct clock *clock) {
    ASSERT_CMP(config->clients, >, 0);
    ASSERT_CMP(config->in_flight, >, 0);
    ASSERT_CMP((uint64_t)config->clients * config->in_flight, <=, BENCH_IN_FLIGHT_MAX);
    ASSERT_CMP(config->attempt_timeout_us, >, 0);
    struct bench_load *load = MEMORY_NEW(struct bench_load);
    load->config = *config;
    load->workload = *workload;
    load->target = *target;
    load->clock = clock;
    prng_init(&load->prng, config->seed);
    histogram_init(&load->latency);
    histogram_init(&load->interval);
    list_init(&load->free);
    load->slot_count = config->clients * config->in_flight;
    load->slots = memory_zalloc(sizeof(struct slot) * load->slot_count);
    for (uint32_t i = 0; i < load->slot_count; i++) {
        load->slots[i].load = load;
        load->slots[i].client = i % config->clients;
        list_push_back(&load->free, &load->slots[i].free_node);
    }
    load->free_count = load->slot_count;
    return load;
}

void bench_load_free(struct bench_load *load) {
    if (!load) return;
    for (uint32_t i = 0; i < load->slot_count; i++)
        ASSERT(load->slots[i].state != SLOT_SENT);
    heap_done(&load->waiting);
    memory_free(load->slots);
    buf_done(&load->failure);
    memory_free(load);
}

void bench_load_start(struct bench_load *load) {
    ASSERT(!load->started);
    load->started = true;
    load->started_us = clock_monotonic_us(load->clock);
    load->last_decided_us = load->last_watched_us = load->started_us;
    bench_load_step(load);
}

static void slot_release(struct slot *slot) {
    slot->state = SLOT_FREE;
    /* First in, first out keeps the clients evenly busy in an open loop. */
    list_push_back(&slot->load->free, &slot->free_node);
    slot->load->free_count++;
}

/* What is watched is to be acknowledged: a refusal would only say that its range serves. */
static void record_watched(struct bench_load *load, enum bench_outcome outcome, uint64_t now_us) {
    if (outcome != BENCH_DONE) {
        load->totals.watched_refused++;
        return;
    }
    uint64_t gap_us = now_us - load->last_watched_us;
    if (!load->stopped && gap_us > load->totals.watched_gap_us)
        load->totals.watched_gap_us = gap_us;
    load->last_watched_us = now_us;
    load->totals.watched++;
}

/* Time to the answer, and the gaps between answers. A refusal is an answer too: the range had to
 * serve to give it. */
static void record_answer(struct slot *slot, enum bench_outcome outcome, uint64_t now_us) {
    struct bench_load *load = slot->load;
    histogram_record(&load->latency, now_us - slot->intended_us);
    histogram_record(&load->interval, now_us - slot->intended_us);
    /* After the end fewer and fewer are in flight, so a gap there says nothing of the cluster. */
    if (!load->stopped && now_us - load->last_decided_us > load->totals.gap_us)
        load->totals.gap_us = now_us - load->last_decided_us;
    load->last_decided_us = now_us;
    if (slot->op.watched) record_watched(load, outcome, now_us);
}

static void decide(struct slot *slot, enum bench_outcome outcome, uint64_t now_us) {
    struct bench_load *load = slot->load;
    switch (outcome) {
    case BENCH_DONE:
        load->totals.done++;
        record_answer(slot, outcome, now_us);
        break;
    case BENCH_REFUSED:
        load->totals.refused++;
        record_answer(slot, outcome, now_us);
        break;
    case BENCH_NOT_DONE:
        load->totals.not_done++;
        break;
    case BENCH_UNKNOWN:
        load->totals.unknown++;
        break;
    }
    load->workload.decided(load->workload.ctx, &slot->op, outcome);
    slot_release(slot);
}

static bool settle_is_over(const struct bench_load *load, uint64_t now_us) {
    return load->stopped && now_us >= load->stopped_us + load->config.settle_us;
}

static void give_up(struct slot *slot, uint64_t now_us) {
    decide(slot, slot->maybe_done ? BENCH_UNKNOWN : BENCH_NOT_DONE, now_us);
}

static void send_again_later(struct slot *slot, uint64_t pause_us, uint64_t now_us) {
    if (slot->load->config.sheds || settle_is_over(slot->load, now_us)) {
        give_up(slot, now_us);
        return;
    }
    slot->state = SLOT_WAITING;
    heap_push(&slot->load->waiting, &slot->wait_node, now_us + pause_us);
}

static uint64_t backoff_us(struct slot *slot, uint64_t max_us) {
    uint32_t doublings = slot->attempts < 10 ? slot->attempts : 10;
    uint64_t pause_us = (uint64_t)BENCH_BACKOFF_MIN_US << doublings;
    if (pause_us > max_us) pause_us = max_us;
    /* Half to all of it: clients that failed together must not come back together. */
    return prng_between(&slot->load->prng, pause_us / 2, pause_us);
}

static void fail_run(struct slot *slot, struct slice text, uint64_t now_us) {
    struct bench_load *load = slot->load;
    if (load->failure.len == 0)
        buf_printf(&load->failure, "operation %" PRIu64 ": %.*s", slot->op.sequence, (int)text.len,
                   (const char *)text.data);
    bench_load_stop(load);
    give_up(slot, now_us);
}

static void attempt_answered(struct slot *slot, const struct router_reply *reply, uint64_t now_us) {
    struct bench_load *load = slot->load;
    struct buf error = {0};
    enum bench_outcome outcome;
    /* Rejected for now, decided by nobody: the keys moved while the command was on its way. */
    bool moved = reply->outcome && reply->outcome->result == TXN_REFUSED_WRONG_RANGE;
    if (moved)
        send_again_later(slot, backoff_us(slot, BENCH_BACKOFF_MAX_US), now_us);
    else if (load->workload.judge(load->workload.ctx, &slot->op, reply, &outcome, &error))
        decide(slot, outcome, now_us);
    else
        fail_run(slot, slice_from_buf(&error), now_us);
    buf_done(&error);
}

static void attempt_done(void *ctx, const struct router_reply *reply) {
    struct slot *slot = ctx;
    struct bench_load *load = slot->load;
    uint64_t now_us = clock_monotonic_us(load->clock);
    ASSERT_CMP(slot->state, ==, SLOT_SENT);
    switch (reply->code) {
    case ROUTER_OK:
        attempt_answered(slot, reply, now_us);
        return;
    case ROUTER_INVALID:
    case ROUTER_CROSS_RANGE:
        fail_run(slot, reply->text, now_us);
        return;
    case ROUTER_BUSY: {
        load->totals.busy++;
        uint64_t pause_us = backoff_us(slot, BENCH_BUSY_BACKOFF_MAX_US);
        if (pause_us < reply->retry_after_us) pause_us = reply->retry_after_us;
        send_again_later(slot, pause_us, now_us);
        return;
    }
    case ROUTER_TIMEOUT:
        load->totals.timeouts++;
        break;
    case ROUTER_UNAVAILABLE:
        load->totals.unavailable++;
        break;
    case ROUTER_UNKNOWN:
        load->totals.unknowns++;
        slot->maybe_done = true;
        break;
    }
    send_again_later(slot, backoff_us(slot, BENCH_BACKOFF_MAX_US), now_us);
}

static void send_attempt(struct slot *slot, uint64_t now_us) {
    struct bench_load *load = slot->load;
    struct router_request request = {0};
    load->workload.request(load->workload.ctx, &slot->op, &request);
    request.deadline_us = now_us + load->config.attempt_timeout_us;
    slot->state = SLOT_SENT;
    if (slot->attempts++ > 0) load->totals.retries++;
    load->target.submit(load->target.ctx, slot->client, &request, attempt_done, slot);
}

/* When operation number `sequence` of an open loop is due. */
static uint64_t arrival_us(const struct bench_load *load, uint64_t sequence) {
    return load->started_us + (uint64_t)((double)sequence * 1e6 / load->config.rate_per_s);
}

/* Arrivals that nobody was free for are gone: their senders went elsewhere. */
static void shed(struct bench_load *load, uint64_t now_us) {
    if (now_us < load->started_us + BENCH_SHED_US) return;
    double due =
        (double)(now_us - BENCH_SHED_US - load->started_us) * load->config.rate_per_s / 1e6;
    uint64_t gone = load->totals.issued + load->totals.shed;
    if ((uint64_t)due > gone) load->totals.shed += (uint64_t)due - gone;
}

/* False: nothing is due now, or the run is over. */
static bool issue(struct bench_load *load, uint64_t now_us) {
    const struct bench_load_config *config = &load->config;
    uint64_t intended_us = now_us;
    if (config->rate_per_s > 0) {
        if (config->sheds) shed(load, now_us);
        intended_us = arrival_us(load, load->totals.issued + load->totals.shed);
        if (intended_us > now_us) return false;
    }
    struct slot *slot = CONTAINER_OF(load->free.next, struct slot, free_node);
    slot->op = (struct bench_op){.sequence = load->totals.issued};
    if (!load->workload.next(load->workload.ctx, &slot->op)) {
        bench_load_stop(load);
        return false;
    }
    list_remove(&slot->free_node);
    load->free_count--;
    load->totals.issued++;
    load->watches = load->watches || slot->op.watched;
    slot->intended_us = intended_us;
    slot->attempts = 0;
    slot->maybe_done = false;
    send_attempt(slot, now_us);
    return true;
}

static void resume_waiting(struct bench_load *load, uint64_t now_us) {
    bool over = settle_is_over(load, now_us);
    for (;;) {
        struct heap_node *first = heap_min(&load->waiting);
        if (!first || (first->key > now_us && !over)) return;
        (void)heap_pop(&load->waiting); /* it is `first` */
        struct slot *slot = CONTAINER_OF(first, struct slot, wait_node);
        if (over)
            give_up(slot, now_us);
        else
            send_attempt(slot, now_us);
    }
}

static void stop_when_due(struct bench_load *load, uint64_t now_us) {
    const struct bench_load_config *config = &load->config;
    if (config->count && load->totals.issued >= config->count) bench_load_stop(load);
    if (config->duration_us && now_us >= load->started_us + config->duration_us)
        bench_load_stop(load);
}

void bench_load_step(struct bench_load *load) {
    if (!load->started) return;
    uint64_t now_us = clock_monotonic_us(load->clock);
    resume_waiting(load, now_us);
    /* At most one operation per slot and step: a target that answers at once must not keep the
     * caller here for ever. */
    for (uint32_t left = load->free_count; left > 0; left--) {
        if (!load->stopped) stop_when_due(load, now_us);
        if (load->stopped || !issue(load, now_us)) break;
    }
    if (!load->stopped) stop_when_due(load, now_us);
}

uint64_t bench_load_next_us(const struct bench_load *load) {
    uint64_t next_us = UINT64_MAX;
    const struct heap_node *first = heap_min(&load->waiting);
    if (first) next_us = first->key;
    if (load->stopped) {
        uint64_t over_us = load->stopped_us + load->config.settle_us;
        return first && over_us < next_us ? over_us : next_us;
    }
    uint64_t end_us = load->started_us + load->config.duration_us;
    if (load->config.duration_us && end_us < next_us) next_us = end_us;
    if (load->free_count == 0) return next_us;
    uint64_t due_us = load->started_us; /* a closed loop's free slot is overdue */
    if (load->config.rate_per_s > 0)
        due_us = arrival_us(load, load->totals.issued + load->totals.shed);
    return due_us < next_us ? due_us : next_us;
}

void bench_load_stop(struct bench_load *load) {
    if (load->stopped) return;
    load->stopped = true;
    load->stopped_us = clock_monotonic_us(load->clock);
    load->totals.done_running = load->totals.done;
    if (!load->started) return;
    /* A cluster that never answered again is a gap up to the end, not none. */
    uint64_t silent_us = load->stopped_us - load->last_decided_us;
    if (silent_us > load->totals.gap_us) load->totals.gap_us = silent_us;
    silent_us = load->stopped_us - load->last_watched_us;
    if (load->watches && silent_us > load->totals.watched_gap_us)
        load->totals.watched_gap_us = silent_us;
}

bool bench_load_running(const struct bench_load *load) {
    return load->started && !load->stopped;
}

bool bench_load_finished(const struct bench_load *load) {
    return load->stopped && load->free_count == load->slot_count;
}

const struct bench_totals *bench_load_totals(const struct bench_load *load) {
    return &load->totals;
}

const struct histogram *bench_load_latency(const struct bench_load *load) {
    return &load->latency;
}

void bench_load_take_interval(struct bench_load *load, struct histogram *ret_latency) {
    *ret_latency = load->interval;
    histogram_init(&load->interval);
}

uint64_t bench_load_elapsed_us(const struct bench_load *load) {
    if (!load->started) return 0;
    uint64_t end_us = load->stopped ? load->last_decided_us : clock_monotonic_us(load->clock);
    return end_us - load->started_us;
}

struct slice bench_load_failure(const struct bench_load *load) {
    return slice_from_buf(&load->failure);
}
