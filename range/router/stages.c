/* Where the time of a decided write goes at the router, and traces of slow calls of any kind:
 *
 *   queue  until the frame that it was first sent in left: a turn's gathering, no known leader
 *   retry  refusals, redirects, silent nodes: until the attempt that decided it left; mostly 0
 *   node   from there to the answer: the way, the leader's own stages (range/stages.h), and
 *          the way back
 *
 * Calls of one turn mostly went the same way: they are counted as a run, and recorded when the next
 * one differs or the turn ends. The times are those of the entry points; no clock is read here. */
#include <inttypes.h>

#include "base/log.h"
#include "range/router/internal.h"
#include "range/router/metrics.h"

METRICS_DEFINE(router, ROUTER_METRICS)

void router_stages_sent(const struct router_part *part) {
    struct router_call *call = part->call;
    uint64_t now_us = call->router->now_us;
    if (call->first_sent_us == 0) call->first_sent_us = now_us;
    call->last_sent_us = now_us;
    call->last_node_id = part->node_id;
    call->last_range_id = part->range_id;
    call->last_attempt_id = part->attempt.id;
    call->attempts++;
}

static bool continues(const struct router_stage_run *run, const struct router_call *call) {
    return run->count > 0 && run->begun_us == call->begun_us &&
           run->first_sent_us == call->first_sent_us && run->last_sent_us == call->last_sent_us &&
           run->done_us == call->router->now_us;
}

void router_stages_flush(struct router *router) {
    struct router_stage_run *run = &router->stage_run;
    if (run->count == 0) return;
    metric_observe_many(&metric_router_stage_queue_us, run->first_sent_us - run->begun_us,
                        run->count);
    metric_observe_many(&metric_router_stage_retry_us, run->last_sent_us - run->first_sent_us,
                        run->count);
    metric_observe_many(&metric_router_stage_node_us, run->done_us - run->last_sent_us, run->count);
    metric_observe_many(&metric_router_stage_total_us, run->done_us - run->begun_us, run->count);
    run->count = 0;
}

/* When everything is slow, a line for each call would make it slower. */
static bool may_trace(struct router *router) {
    if (router->now_us - router->trace_second_us >= 1000000) {
        if (router->untraced > 0)
            log_warn("slow_calls_untraced", "count=%" PRIu32, router->untraced);
        router->trace_second_us = router->now_us;
        router->traced = router->untraced = 0;
    }
    if (router->traced < ROUTER_TRACES_PER_S) {
        router->traced++;
        return true;
    }
    router->untraced++;
    return false;
}

static void trace(const struct router_call *call, enum router_code code) {
    static const char *const ops[] = {[ROUTER_GET] = "get",
                                      [ROUTER_SCAN] = "scan",
                                      [ROUTER_WRITE] = "write",
                                      [ROUTER_TRANSFER] = "transfer"};
    struct router *router = call->router;
    uint64_t total_us = router->now_us - call->begun_us;
    if (router->config.slow_us == 0 || total_us < router->config.slow_us || !may_trace(router))
        return;
    bool sent = call->first_sent_us != 0;
    uint64_t queue_us = sent ? call->first_sent_us - call->begun_us : total_us;
    log_warn("slow_call",
             "op=%s code=%d range=%" PRIu64 " node=%" PRIu64 " call=%" PRIu64 " attempts=%" PRIu32
             " total_us=%" PRIu64 " queue_us=%" PRIu64 " retry_us=%" PRIu64 " node_us=%" PRIu64,
             ops[call->op], (int)code, call->last_range_id, call->last_node_id,
             call->last_attempt_id, call->attempts, total_us, queue_us,
             sent ? call->last_sent_us - call->first_sent_us : 0,
             sent ? router->now_us - call->last_sent_us : 0);
}

void router_stages_done(const struct router_call *call, enum router_code code) {
    struct router *router = call->router;
    trace(call, code);
    if (call->op != ROUTER_WRITE || code != ROUTER_OK) return;
    if (!continues(&router->stage_run, call)) {
        router_stages_flush(router);
        router->stage_run = (struct router_stage_run){.begun_us = call->begun_us,
                                                      .first_sent_us = call->first_sent_us,
                                                      .last_sent_us = call->last_sent_us,
                                                      .done_us = router->now_us};
    }
    router->stage_run.count++;
}
