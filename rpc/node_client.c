/* The router's streams to the nodes, and what keeps the router going on the loop. */
#include "rpc/node_client.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/hashmap.h"
#include "base/log.h"
#include "base/memory.h"
#include "rpc/frame.h"
#include "rpc/local_session.h"

struct node_entry {
    struct idmap_node map_node; /* by node id */
    struct rpc_node_client *client;
    char *address;         /* owned */
    struct rpc_link *link; /* NULL until dialled */
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

static void node_up(void *ctx) {
    struct node_entry *entry = ctx;
    router_node_up(entry->client->router, entry->map_node.id, rpc_loop_now_us(entry->client->loop));
}

static void node_down(void *ctx, const struct rpc_status *reason) {
    struct node_entry *entry = ctx;
    router_node_down(entry->client->router, entry->map_node.id,
                     rpc_loop_now_us(entry->client->loop));
}

static void node_message(void *ctx, struct slice message) {
    struct node_entry *entry = ctx;
    struct rpc_node_client *client = entry->client;
    uint64_t now_us = rpc_loop_now_us(client->loop);
    struct decoder in;
    struct slice frame;
    enum status status = rpc_frame_open(message, &in) ? STATUS_OK : STATUS_CORRUPTION;
    while (status == STATUS_OK && rpc_frame_next(&in, &frame))
        status = router_replies(client->router, entry->map_node.id, frame, now_us);
    if (status == STATUS_OK) return;
    log_error("rpc_node_protocol_error", "node=%" PRIu64 " action=\"the stream is closed\"",
              entry->map_node.id);
    rpc_link_reset(entry->link, "the node breaks protocol");
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
    enum status status = rpc_frame_send_link(entry->link, frame);
    /* The router cuts its frames far below the limit of a message: any other failure is its bug. */
    ASSERT(status == STATUS_OK || status == STATUS_BUSY || status == STATUS_UNAVAILABLE);
    return status;
}
