/* The stand-in for the router. */
#include "base/assert.h"
#include "tests/rpc/fake_range.h"

void router_node_up(struct router *router, uint64_t node_id, uint64_t now_us) {
    router->ups++;
    router->node_ups[node_id]++;
}

void router_node_down(struct router *router, uint64_t node_id, uint64_t now_us) {
    router->downs++;
    router->node_downs[node_id]++;
}

enum status router_replies(struct router *router, uint64_t node_id, struct slice frame,
                           uint64_t now_us) {
    router->replies++;
    buf_assign(&router->last_reply, frame);
    if (frame.len >= 8) {
        uint64_t number;
        memcpy(&number, frame.data, 8);
        if (router->next_number++ != number) router->out_of_order++;
    }
    return router->answer;
}

void router_flush(struct router *router, uint64_t now_us) {
    router->flushes++;
}

void router_tick(struct router *router, uint64_t now_us) {
    ASSERT_CMP(router->next_us, <=, now_us);
    router->ticks++;
    router->next_us = UINT64_MAX;
}

uint64_t router_next_us(const struct router *router) {
    return router->next_us;
}
