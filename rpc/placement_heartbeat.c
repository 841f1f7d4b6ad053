/* A node's heartbeats: what it reports, and what it does about the answer.
 *
 * A complete heartbeat names every replica; between two of them only those that changed, or that
 * have applied something, are named, so that thousands of idle replicas cost next to nothing. After
 * anything went wrong the next one is complete. One heartbeat is under way at a time. */
#include <inttypes.h>
#include <sys/statvfs.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "rpc/placement_client_internal.h"

/* How often the leaders are counted between two heartbeats. */
#define LOOK_US (100u * 1000u)
#define PARTIAL_HEARTBEATS 9u
#define NEXT_MS_DEFAULT 1000u

#define TOLD_OF(node) CONTAINER_OF(node, struct placement_told, by_id)

/* ---- what is reported ---- */

struct report_list {
    struct placement_heartbeats *heartbeats;
    struct arena arena;
    bool complete;
    Flotilla__V1__ReplicaReport **items;
    size_t count, cap;
    uint32_t replicas, leaders;
    uint64_t data_bytes;
};

static Flotilla__V1__ReplicaReport *add_report(struct report_list *list) {
    if (list->count == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 64;
        Flotilla__V1__ReplicaReport **items =
            ARENA_NEW_ARRAY(&list->arena, Flotilla__V1__ReplicaReport *, cap);
        if (list->count) memcpy(items, list->items, list->count * sizeof(*items));
        list->items = items;
        list->cap = cap;
    }
    Flotilla__V1__ReplicaReport *report = arena_alloc(&list->arena, sizeof(*report));
    flotilla__v1__replica_report__init(report);
    list->items[list->count++] = report;
    return report;
}

static struct placement_told *told_of(struct placement_heartbeats *heartbeats, uint64_t range_id) {
    struct idmap_node *node = idmap_get(&heartbeats->told, range_id);
    if (node) return TOLD_OF(node);
    struct placement_told *told = MEMORY_NEW(struct placement_told);
    idmap_put(&heartbeats->told, &told->by_id, range_id);
    return told;
}

static void report_range(void *ctx, const struct range_status *status) {
    struct report_list *list = ctx;
    const struct range_descriptor *descriptor = status->descriptor;
    struct placement_told *told = told_of(list->heartbeats, descriptor->range_id);
    told->heard = list->heartbeats->walks;
    list->replicas++;
    list->data_bytes += status->approximate_bytes;
    if (status->leads) list->leaders++;
    bool changed = told->replica_id != status->replica_id || told->term != status->term ||
                   told->leads != status->leads || told->applied_index != status->applied_index ||
                   told->epoch.conf_version != descriptor->epoch.conf_version ||
                   told->epoch.span_version != descriptor->epoch.span_version;
    bool describe = told->wanted && status->leads;
    if (!list->complete && !changed && !describe) return;
    if (list->count == PLACEMENT_REPORTS_MAX) return;
    Flotilla__V1__ReplicaReport *report = add_report(list);
    report->range_id = descriptor->range_id;
    report->replica_id = told->replica_id = status->replica_id;
    report->conf_version = descriptor->epoch.conf_version;
    report->span_version = descriptor->epoch.span_version;
    told->epoch = descriptor->epoch;
    report->term = told->term = status->term;
    report->leads = told->leads = status->leads;
    report->applied_index = told->applied_index = status->applied_index;
    report->data_bytes = status->approximate_bytes;
    if (describe) {
        struct range_descriptor copy = *descriptor;
        struct slice start = arena_copy(&list->arena, slice_from_buf(&descriptor->start));
        struct slice end = arena_copy(&list->arena, slice_from_buf(&descriptor->end));
        copy.start = (struct buf){.data = (uint8_t *)start.data, .len = start.len};
        copy.end = (struct buf){.data = (uint8_t *)end.data, .len = end.len};
        report->descriptor = placement_range_descriptor_to_proto(&list->arena, &copy);
        told->wanted = false;
    }
}

/* Replicas that are gone can only be told by a complete heartbeat that does not name them. */
static void forget_gone(struct placement_heartbeats *heartbeats, const struct report_list *list) {
    if (heartbeats->told.count == list->replicas) return;
    heartbeats->want_complete = !list->complete;
    struct idmap_node *node = idmap_next(&heartbeats->told, NULL);
    while (node) {
        struct placement_told *told = TOLD_OF(node);
        node = idmap_next(&heartbeats->told, node);
        if (told->heard == heartbeats->walks) continue;
        idmap_remove(&heartbeats->told, told->by_id.id);
        memory_free(told);
    }
}

static void add_disk(const struct placement_heartbeats *heartbeats,
                     Flotilla__V1__HeartbeatRequest *request) {
    struct statvfs disk;
    if (!heartbeats->data_directory || statvfs(heartbeats->data_directory, &disk)) return;
    request->capacity_bytes = (uint64_t)disk.f_blocks * disk.f_frsize;
    request->available_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
}

static enum placement_verdict on_answer(void *ctx, enum status status, struct slice text,
                                        struct slice response, bool last);

static void send_heartbeat(struct placement_client *client, bool leaving) {
    struct placement_heartbeats *heartbeats = &client->heartbeats;
    struct report_list list = {.heartbeats = heartbeats};
    Flotilla__V1__HeartbeatRequest request = FLOTILLA__V1__HEARTBEAT_REQUEST__INIT;
    arena_init(&list.arena, 0);
    list.complete = heartbeats->want_complete || !heartbeats->until_complete;
    heartbeats->until_complete =
        list.complete ? PARTIAL_HEARTBEATS : heartbeats->until_complete - 1;
    heartbeats->want_complete = false;
    heartbeats->walks++;
    range_store_status(heartbeats->node.store, report_range, &list);
    forget_gone(heartbeats, &list);
    heartbeats->leaders_told = list.leaders;
    request.cluster_id = client->identity.cluster_id;
    request.node_id = client->identity.node_id;
    request.incarnation = client->incarnation;
    request.wall_ms = clock_wall_ms(clock_system());
    request.synced_sequence = range_store_synced_sequence(heartbeats->node.store);
    request.address_book_version = heartbeats->address_book_version;
    request.leaving = leaving;
    request.complete = list.complete;
    request.replica_count = list.replicas;
    request.leader_count = list.leaders;
    request.data_bytes = list.data_bytes;
    request.n_reports = list.count;
    request.reports = list.items;
    add_disk(heartbeats, &request);
    heartbeats->in_flight = true;
    heartbeats->again = false;
    placement_client_call(client, PLACEMENT_METHOD("Heartbeat"), &request.base, on_answer, NULL,
                          client);
    arena_done(&list.arena);
}

/* ---- what comes of the answer ---- */

static void follow_addresses(struct placement_heartbeats *heartbeats,
                             const Flotilla__V1__HeartbeatResponse *response) {
    for (size_t i = 0; i < response->n_nodes; i++) {
        struct placement_node_address node;
        if (!placement_address_from_proto(response->nodes[i], &node))
            heartbeats->node.address(heartbeats->node.ctx, &node);
    }
    heartbeats->address_book_version = response->address_book_version;
}

static void create_replicas(struct placement_heartbeats *heartbeats,
                            const Flotilla__V1__HeartbeatResponse *response) {
    for (size_t i = 0; i < response->n_creates; i++) {
        struct range_descriptor descriptor;
        if (placement_range_descriptor_from_proto(response->creates[i]->descriptor, &descriptor)) {
            log_error("placement_create", "error=\"placement sent a descriptor that makes no "
                                          "sense\"");
            continue;
        }
        range_store_create(heartbeats->node.store, &descriptor, response->creates[i]->campaign);
    }
    for (size_t i = 0; i < response->n_wanted; i++) {
        struct idmap_node *node = idmap_get(&heartbeats->told, response->wanted[i]);
        if (node) TOLD_OF(node)->wanted = true;
    }
}

static void follow_answer(struct placement_client *client,
                          const Flotilla__V1__HeartbeatResponse *response) {
    struct placement_heartbeats *heartbeats = &client->heartbeats;
    uint32_t next_ms = response->next_heartbeat_ms ? response->next_heartbeat_ms : NEXT_MS_DEFAULT;
    heartbeats->answered_us = rpc_loop_now_us(client->loop);
    heartbeats->backoff = (struct placement_backoff){0};
    heartbeats->logged_us = 0;
    if (response->want_complete) heartbeats->want_complete = true;
    follow_addresses(heartbeats, response);
    create_replicas(heartbeats, response);
    heartbeats->next_us = rpc_loop_now_us(client->loop) + (uint64_t)next_ms * 1000;
}

static void fence(struct placement_client *client, struct slice text) {
    struct placement_heartbeats *heartbeats = &client->heartbeats;
    heartbeats->fenced = true;
    rpc_timer_stop(client->loop, &heartbeats->timer);
    log_error("placement_fenced", "node=%" PRIu64 " reason=\"%.*s\"", client->identity.node_id,
              (int)text.len, (const char *)text.data);
    heartbeats->node.fenced(heartbeats->node.ctx, text);
}

static void finish_leaving(struct placement_client *client) {
    struct placement_heartbeats *heartbeats = &client->heartbeats;
    void (*done)(void *ctx) = heartbeats->leave_done;
    if (!done) return;
    heartbeats->leave_done = NULL;
    rpc_timer_stop(client->loop, &heartbeats->leave_timer);
    done(heartbeats->leave_ctx);
}

static void schedule(struct placement_client *client) {
    struct placement_heartbeats *heartbeats = &client->heartbeats;
    uint64_t now_us = rpc_loop_now_us(client->loop);
    uint64_t at_us = heartbeats->next_us;
    if (heartbeats->again) at_us = now_us;
    if (at_us > now_us + LOOK_US) at_us = now_us + LOOK_US;
    rpc_timer_start(client->loop, &heartbeats->timer, at_us);
}

/* The answer has been dealt with, whatever it was. */
static void finish_heartbeat(struct placement_client *client) {
    struct placement_heartbeats *heartbeats = &client->heartbeats;
    heartbeats->in_flight = false;
    if (heartbeats->fenced) {
        finish_leaving(client);
    } else if (!heartbeats->left) {
        schedule(client);
    } else if (heartbeats->again) {
        send_heartbeat(client, true);
    } else {
        finish_leaving(client);
    }
}

/* Told at the first failure and then every ten seconds, until a heartbeat is answered again. */
static void complain(struct placement_client *client, enum status status, struct slice reason) {
    struct placement_heartbeats *heartbeats = &client->heartbeats;
    uint64_t now_us = rpc_loop_now_us(client->loop);
    if (heartbeats->logged_us && now_us - heartbeats->logged_us < PLACEMENT_CLIENT_LOG_PAUSE_US)
        return;
    heartbeats->logged_us = now_us;
    log_warn("placement_waiting", "what=heartbeat node=%" PRIu64 " status=%s reason=\"%.*s\"",
             client->identity.node_id, status_name(status), (int)reason.len,
             (const char *)reason.data);
}

static enum placement_verdict on_answer(void *ctx, enum status status, struct slice text,
                                        struct slice response, bool last) {
    struct placement_client *client = ctx;
    struct placement_heartbeats *heartbeats = &client->heartbeats;
    struct arena arena;
    ProtobufCMessage *message = NULL;
    arena_init(&arena, 0);
    if (!status)
        status = placement_client_read(&arena, &flotilla__v1__heartbeat_response__descriptor,
                                       response, offsetof(Flotilla__V1__HeartbeatResponse, outcome),
                                       &message, &text);
    enum placement_verdict verdict =
        placement_ask_elsewhere(status) ? PLACEMENT_NEXT : PLACEMENT_DONE;
    if (verdict == PLACEMENT_DONE || last) {
        if (status == STATUS_OK) {
            follow_answer(client, (const Flotilla__V1__HeartbeatResponse *)(const void *)message);
        } else if (status == STATUS_MISMATCH || status == STATUS_EXISTS) {
            fence(client, text);
        } else {
            complain(client, status, text);
            heartbeats->want_complete = true;
            heartbeats->next_us =
                rpc_loop_now_us(client->loop) + placement_backoff_us(client, &heartbeats->backoff);
        }
        finish_heartbeat(client);
    }
    arena_done(&arena);
    return verdict;
}

/* ---- when ---- */

static void fire(struct rpc_timer *timer) {
    struct placement_client *client =
        CONTAINER_OF(timer, struct placement_client, heartbeats.timer);
    struct placement_heartbeats *heartbeats = &client->heartbeats;
    if (heartbeats->in_flight || heartbeats->fenced || heartbeats->left) return;
    bool due = heartbeats->again || rpc_loop_now_us(client->loop) >= heartbeats->next_us;
    /* While placement is away, changed leaders do not shorten the back-off. */
    if (!due && !heartbeats->backoff.next_ms &&
        range_store_leader_count(heartbeats->node.store) != heartbeats->leaders_told)
        due = true;
    if (due)
        send_heartbeat(client, false);
    else
        schedule(client);
}

static void run_beat(struct rpc_task *task) {
    struct placement_client *client = CONTAINER_OF(task, struct placement_client, heartbeats.beat);
    struct placement_heartbeats *heartbeats = &client->heartbeats;
    if (client->closing || !heartbeats->started || heartbeats->fenced || heartbeats->left) return;
    heartbeats->again = true;
    if (!heartbeats->in_flight) send_heartbeat(client, false);
}

uint64_t placement_client_answered_us(const struct placement_client *client) {
    return client->heartbeats.answered_us;
}

void placement_client_beat(struct placement_client *client) {
    rpc_loop_post(client->loop, &client->heartbeats.beat);
}

void placement_client_start_node(struct placement_client *client,
                                 const struct placement_client_node *node) {
    struct placement_heartbeats *heartbeats = &client->heartbeats;
    ASSERT(!heartbeats->started && client->identity.node_id);
    heartbeats->started = true;
    heartbeats->node = *node;
    heartbeats->node.data_directory = NULL;
    if (node->data_directory) {
        size_t size = strlen(node->data_directory) + 1;
        heartbeats->data_directory = memcpy(memory_alloc(size), node->data_directory, size);
    }
    heartbeats->want_complete = true;
    send_heartbeat(client, false);
}

static void leave_timed_out(struct rpc_timer *timer) {
    finish_leaving(CONTAINER_OF(timer, struct placement_client, heartbeats.leave_timer));
}

void placement_client_leave(struct placement_client *client, uint32_t timeout_ms,
                            void (*done)(void *ctx), void *ctx) {
    struct placement_heartbeats *heartbeats = &client->heartbeats;
    heartbeats->leave_done = done;
    heartbeats->leave_ctx = ctx;
    if (!heartbeats->started || heartbeats->fenced) {
        finish_leaving(client);
        return;
    }
    heartbeats->left = true;
    rpc_timer_stop(client->loop, &heartbeats->timer);
    rpc_timer_start(client->loop, &heartbeats->leave_timer,
                    rpc_loop_now_us(client->loop) + (uint64_t)timeout_ms * 1000);
    /* One that is under way does not say that the node leaves: another follows it. */
    if (heartbeats->in_flight)
        heartbeats->again = true;
    else
        send_heartbeat(client, true);
}

void placement_heartbeats_init(struct placement_client *client) {
    client->heartbeats.timer.fire = fire;
    client->heartbeats.leave_timer.fire = leave_timed_out;
    client->heartbeats.beat.run = run_beat;
}

void placement_heartbeats_done(struct placement_client *client) {
    struct placement_heartbeats *heartbeats = &client->heartbeats;
    rpc_timer_stop(client->loop, &heartbeats->timer);
    rpc_timer_stop(client->loop, &heartbeats->leave_timer);
    for (struct idmap_node *node = idmap_next(&heartbeats->told, NULL), *next; node; node = next) {
        next = idmap_next(&heartbeats->told, node);
        memory_free(TOLD_OF(node));
    }
    idmap_done(&heartbeats->told);
    memory_free(heartbeats->data_directory);
}
