/* The router's streams to the nodes, and what keeps the router going on the loop. */
#include "rpc/node_client.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/hashmap.h"
#include "base/log.h"
#include "base/memory.h"
#include "rpc/frame.h"
#include "rpc/limits.h"
#include "rpc/local_session.h"
#include "rpc/relay.h"

struct node_entry {
    struct idmap_node map_node; /* by node id */
    struct rpc_node_client *client;
    char *address;           /* owned */
    struct rpc_link *link;   /* NULL until dialled */
    bool up;                 /* the link is, as the router was told */
    uint64_t down_us;        /* unless up: since when the link has been down */
    struct rpc_relay *relay; /* NULL until there was need for one */
};

struct rpc_node_client {
    struct rpc_loop *loop;
    struct router *router;
    struct rpc_identity identity; /* node id 0: a router */
    struct idmap nodes;           /* struct node_entry */
    struct rpc_timer timer;       /* router_tick */
    struct rpc_turn_hook hook;    /* router_flush */

    /* Beside a store only. `local_node` stays when the store has gone. */
    uint64_t local_node;
    struct range_store *store;
    struct rpc_local_session *session;
};

static void arm_timer(struct rpc_node_client *client) {
    uint64_t next_us = router_next_us(client->router);
    if (next_us == UINT64_MAX)
        rpc_timer_stop(client->loop, &client->timer);
    else if (client->timer.node.slot == 0 || client->timer.node.key != next_us)
        rpc_timer_start(client->loop, &client->timer, next_us);
}

static void tick(struct rpc_timer *timer) {
    struct rpc_node_client *client = CONTAINER_OF(timer, struct rpc_node_client, timer);
    /* The turn's end flushes what this leaves to send and sets the timer again. */
    router_tick(client->router, rpc_loop_now_us(client->loop));
}

static void end_of_turn(struct rpc_turn_hook *hook) {
    struct rpc_node_client *client = CONTAINER_OF(hook, struct rpc_node_client, hook);
    if (!client->router) return;
    router_flush(client->router, rpc_loop_now_us(client->loop));
    arm_timer(client);
}

struct rpc_node_client *rpc_node_client_new(struct rpc_loop *loop) {
    struct rpc_node_client *client = MEMORY_NEW(struct rpc_node_client);
    client->loop = loop;
    client->timer.fire = tick;
    client->hook.end_of_turn = end_of_turn;
    rpc_loop_add_hook(loop, &client->hook);
    return client;
}

void rpc_node_client_free(struct rpc_node_client *client) {
    if (!client) return;
    ASSERT(client->store == NULL);
    rpc_timer_stop(client->loop, &client->timer);
    rpc_loop_remove_hook(client->loop, &client->hook);
    struct idmap_node *at;
    while ((at = idmap_next(&client->nodes, NULL))) {
        struct node_entry *entry = CONTAINER_OF(at, struct node_entry, map_node);
        (void)idmap_remove(&client->nodes, at->id); /* It is `at`. */
        rpc_link_free(entry->link);
        rpc_relay_free(entry->relay);
        free(entry->address);
        memory_free(entry);
    }
    idmap_done(&client->nodes);
    memory_free(client);
}

void rpc_node_client_set_router(struct rpc_node_client *client, struct router *router) {
    ASSERT(client->router == NULL);
    client->router = router;
}

/* ---- one node ---- */

static void tell_up(struct node_entry *entry) {
    router_node_up(entry->client->router, entry->map_node.id, rpc_loop_now_us(entry->client->loop));
}

/* The router knows one stream per node. When one of two is lost it gives up what is under way on
 * the other, too, which is safe; and goes on there. */
static void tell_down(struct node_entry *entry) {
    router_node_down(entry->client->router, entry->map_node.id,
                     rpc_loop_now_us(entry->client->loop));
    if (entry->up || (entry->relay && rpc_relay_up(entry->relay))) tell_up(entry);
}

/* False: the node breaks protocol. */
static bool take_replies(struct node_entry *entry, struct slice message) {
    struct rpc_node_client *client = entry->client;
    uint64_t now_us = rpc_loop_now_us(client->loop);
    struct decoder in;
    struct slice frame;
    enum status status = rpc_frame_open(message, &in) ? STATUS_OK : STATUS_CORRUPTION;
    while (status == STATUS_OK && rpc_frame_next(&in, &frame))
        status = router_replies(client->router, entry->map_node.id, frame, now_us);
    if (status == STATUS_OK) return true;
    log_error("rpc_node_protocol_error", "node=%" PRIu64 " action=\"the stream is closed\"",
              entry->map_node.id);
    return false;
}

/* ---- its link ---- */

static void node_up(void *ctx) {
    struct node_entry *entry = ctx;
    entry->up = true;
    if (entry->relay) rpc_relay_retire(entry->relay);
    tell_up(entry);
}

static void node_down(void *ctx, const struct rpc_status *reason) {
    struct node_entry *entry = ctx;
    entry->up = false;
    entry->down_us = rpc_loop_now_us(entry->client->loop);
    if (entry->relay) rpc_relay_resume(entry->relay);
    tell_down(entry);
}

static void node_message(void *ctx, struct slice message) {
    struct node_entry *entry = ctx;
    if (!take_replies(entry, message)) rpc_link_reset(entry->link, "the node breaks protocol");
}

static const struct rpc_link_events node_events = {
    .on_up = node_up, .on_down = node_down, .on_message = node_message};

static void dial(struct node_entry *entry) {
    struct rpc_node_client *client = entry->client;
    if (client->identity.cluster_id == 0 || !client->router) return;
    if (entry->link) {
        rpc_link_set_address(entry->link, entry->address);
        return;
    }
    struct rpc_link_config config = {.address = entry->address,
                                     .method = "/flotilla.v1.Node/Requests",
                                     .identity = client->identity,
                                     .to_node = entry->map_node.id,
                                     .stream = {.merge = true}};
    entry->link = rpc_link_new(client->loop, &config, &node_events, entry);
    entry->down_us = rpc_loop_now_us(client->loop);
}

/* ---- its relay ---- */

/* Through whom it may be reached: not through those that cannot be reached either, as far as that
 * is known. */
static bool may_relay(const struct node_entry *entry, const struct node_entry *to) {
    return entry != to && (entry->up || !entry->link);
}

/* By ascending ids, beginning behind the target's own: routers that lose different nodes ask
 * different ones. */
static uint32_t next_via(void *ctx, uint64_t after_node, struct rpc_relay_via *ret_via) {
    const struct node_entry *to = ctx, *best = NULL;
    uint64_t after = after_node ? after_node : to->map_node.id;
    uint32_t count = 0;
    struct idmap_node *at = NULL;
    while ((at = idmap_next(&to->client->nodes, at))) {
        const struct node_entry *entry = CONTAINER_OF(at, struct node_entry, map_node);
        if (!may_relay(entry, to)) continue;
        count++;
        /* Unsigned: what is not behind it comes after all that is; itself last. */
        if (!best || at->id - after - 1 < best->map_node.id - after - 1) best = entry;
    }
    if (best)
        *ret_via = (struct rpc_relay_via){.node_id = best->map_node.id, .address = best->address};
    return count;
}

static void relay_up(void *ctx) {
    tell_up(ctx);
}

/* Another one is looked for at once: the router was about to use it. */
static void relay_down(void *ctx) {
    struct node_entry *entry = ctx;
    tell_down(entry);
    if (!entry->up) rpc_relay_want(entry->relay);
}

static void relay_message(void *ctx, struct slice message) {
    struct node_entry *entry = ctx;
    if (!take_replies(entry, message)) rpc_relay_reset(entry->relay, "the node breaks protocol");
}

static const struct rpc_relay_events relay_events = {
    .next = next_via, .on_up = relay_up, .on_down = relay_down, .on_message = relay_message};

static enum status send_around(struct node_entry *entry, struct slice frame) {
    struct rpc_node_client *client = entry->client;
    uint64_t down_for_us = rpc_loop_now_us(client->loop) - entry->down_us;
    if (entry->relay && rpc_relay_up(entry->relay)) return rpc_relay_send(entry->relay, frame);
    if (down_for_us < (uint64_t)RPC_RELAY_AFTER_MS * 1000) return STATUS_UNAVAILABLE;
    if (!entry->relay)
        entry->relay = rpc_relay_new(client->loop, &client->identity, entry->map_node.id,
                                     &relay_events, entry);
    rpc_relay_want(entry->relay);
    return STATUS_UNAVAILABLE; /* The router hears when it is up. */
}

enum status rpc_node_client_set_cluster(struct rpc_node_client *client, uint64_t cluster_id) {
    ASSERT(rpc_loop_on_thread(client->loop));
    ASSERT(client->router != NULL);
    if (cluster_id == 0) return STATUS_MISMATCH;
    if (client->identity.cluster_id == cluster_id) return STATUS_OK;
    if (client->identity.cluster_id != 0) return STATUS_MISMATCH;
    client->identity.cluster_id = cluster_id;
    if (client->local_node != 0) return STATUS_OK;
    struct idmap_node *at = NULL;
    while ((at = idmap_next(&client->nodes, at)))
        dial(CONTAINER_OF(at, struct node_entry, map_node));
    return STATUS_OK;
}

void rpc_node_client_set_address(struct rpc_node_client *client, uint64_t node_id,
                                 const char *address) {
    ASSERT(rpc_loop_on_thread(client->loop));
    if (node_id == client->local_node) return;
    struct idmap_node *found = idmap_get(&client->nodes, node_id);
    struct node_entry *entry = found ? CONTAINER_OF(found, struct node_entry, map_node) : NULL;
    if (entry && strcmp(entry->address, address) == 0) return;
    if (!entry) {
        entry = MEMORY_NEW(struct node_entry);
        entry->client = client;
        idmap_put(&client->nodes, &entry->map_node, node_id);
    }
    free(entry->address);
    entry->address = strdup(address);
    if (!entry->address) fatal("out of memory");
    if (client->local_node == 0 || entry->link) dial(entry);
}

/* ---- the store beside the router ---- */

static void local_replies(void *ctx, struct slice frame) {
    struct rpc_node_client *client = ctx;
    enum status status =
        router_replies(client->router, client->local_node, frame, rpc_loop_now_us(client->loop));
    ASSERT(status == STATUS_OK); /* It never was on a wire. */
}

void rpc_node_client_set_store(struct rpc_node_client *client, uint64_t node_id,
                               struct range_store *store) {
    ASSERT(rpc_loop_on_thread(client->loop));
    ASSERT(client->local_node == 0 && client->nodes.count == 0);
    client->local_node = node_id;
    client->store = store;
    client->session = rpc_local_session_new(client->loop, local_replies, client);
}

void rpc_node_client_unset_store(struct rpc_node_client *client) {
    ASSERT(rpc_loop_on_thread(client->loop));
    if (!client->store) return;
    client->store = NULL;
    rpc_local_session_close(client->session);
    client->session = NULL;
    router_node_down(client->router, client->local_node, rpc_loop_now_us(client->loop));
}

static enum status send_local(struct rpc_node_client *client, struct slice frame) {
    if (!client->store) return STATUS_UNAVAILABLE;
    enum status status =
        range_store_requests(client->store, rpc_local_session_base(client->session), frame);
    ASSERT(status != STATUS_CORRUPTION && status != STATUS_TOO_LARGE); /* the router's bug */
    return status == STATUS_OK || status == STATUS_BUSY ? status : STATUS_UNAVAILABLE;
}

/* ---- sending ---- */

enum status rpc_node_client_send(struct rpc_node_client *client, uint64_t node_id,
                                 struct slice frame) {
    if (node_id == client->local_node) return send_local(client, frame);
    struct idmap_node *found = idmap_get(&client->nodes, node_id);
    struct node_entry *entry = found ? CONTAINER_OF(found, struct node_entry, map_node) : NULL;
    if (entry && !entry->link) dial(entry); /* The router hears when it is up. */
    if (!entry || !entry->link) return STATUS_UNAVAILABLE;
    enum status status =
        entry->up ? rpc_frame_send_link(entry->link, frame) : send_around(entry, frame);
    /* The router cuts its frames far below the limit of a message: any other failure is its bug. */
    ASSERT(status == STATUS_OK || status == STATUS_BUSY || status == STATUS_UNAVAILABLE);
    return status;
}
