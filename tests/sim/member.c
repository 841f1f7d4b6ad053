/* A member of placement: the driver of production, its disk, and the answers to its callers. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/world.h"

/* Who waits for a callback of the driver. */
struct asker {
    struct sim_member *member;
    uint64_t member_incarnation;
    uint32_t host;
    uint64_t host_incarnation;
    uint64_t number;
    uint32_t worker, address;
};

static void schedule(struct sim_member *member) {
    struct sim_host *host = &member->host;
    struct sim *sim = host->sim;
    if (!host->up || host->paused) return;
    uint64_t due_us = member->disk.sync_done_us;
    if (!member->disk.syncing)
        due_us = placement_driver_pending(member->driver)
                     ? sim->now_us
                     : sim_host_when(host, placement_driver_next_us(member->driver));
    sim_timer_start(sim, &host->wake, due_us > sim->now_us ? due_us : sim->now_us);
}

static void send_frame(void *ctx, uint64_t to_member, struct slice frame) {
    struct sim_member *member = ctx;
    struct sim *sim = member->host.sim;
    const struct sim_host *to = &sim->members[to_member - 1].host;
    if (!member->host.up) return;
    sim_rules_member_frame(sim, &member->host, to, frame);
    sim_send(sim, SIM_MEMBER_FRAME, member->host.index, to->index, frame, NULL, 0);
}

void sim_member_start(struct sim_member *member) {
    struct sim *sim = member->host.sim;
    struct placement_config config;
    struct buf split_keys = {0}, error = {0};
    placement_config_defaults(&config);
    sim_clients_split_keys(sim, &split_keys);
    buf_append_byte(&split_keys, 0);
    config.member_id = member->host.number;
    config.member_count = sim->config.members;
    for (uint32_t i = 0; i < sim->config.members; i++)
        config.members[i] = i + 1;
    config.birth_nodes = sim->config.nodes;
    config.replication_factor = sim->config.replication_factor;
    config.split_keys = (const char *)split_keys.data;
    config.lease_drift_ppm = SIM_LEASE_DRIFT_PPM;
    config.log_entries_kept = sim->config.member_log_entries_kept;
    config.seed = prng_next(&sim->prng);
    struct placement_transport transport = {.ctx = member, .send = send_frame};
    member->disk = (struct sim_driver){0};
    enum status status =
        placement_driver_open(&config, member->host.engine, &transport, &member->host.clock,
                              sim_host_now_us(&member->host), &error, &member->driver);
    if (status != STATUS_OK && sim_disk_failed(&member->host))
        fatal("placement member %u cannot open its state: %s", member->host.number,
              status_text(status));
    if (status != STATUS_OK)
        sim_broken(sim, "placement recovers from what it wrote", "member %u: %.*s",
                   member->host.number, (int)error.len, (const char *)error.data);
    buf_done(&split_keys);
    buf_done(&error);
    schedule(member);
}

void sim_member_stop(struct sim_member *member, enum sim_end end) {
    /* Nobody keeps a stream to it that would have to be told. */
    if (end != SIM_END_FAILURE) {
        if (member->disk.syncing)
            sim_disk_interrupt_sync(&member->host, placement_driver_batch(member->driver));
        placement_driver_free(member->driver);
    }
    member->driver = NULL;
}

void sim_member_wake(struct sim_member *member) {
    struct sim *sim = member->host.sim;
    uint64_t host_us = sim_host_now_us(&member->host);
    if (member->disk.syncing && member->disk.sync_done_us > sim->now_us) {
        schedule(member);
        return;
    }
    if (member->disk.syncing) {
        enum status status = sim_disk_sync(&member->host, placement_driver_batch(member->driver));
        if (status != STATUS_OK) /* as placement_driver_run does */
            fatal("placement member %u: the sync of its log failed: %s", member->host.number,
                  status_text(status));
        member->disk.syncing = false;
        placement_driver_synced(member->driver, host_us);
        placement_driver_check(member->driver);
        schedule(member);
        return;
    }
    member->host.turn_began_us = host_us; /* what it says after the sync was decided now */
    if (placement_driver_turn(member->driver, host_us)) {
        member->disk.syncing = true;
        member->disk.sync_done_us = sim->now_us + sim_disk_sync_time(&member->host);
    }
    if (!member->disk.syncing) placement_driver_check(member->driver);
    schedule(member);
}

void sim_members_note(struct sim *sim) {
    for (uint32_t i = 0; i < sim->config.members; i++) {
        struct sim_member *member = &sim->members[i];
        struct placement_status status;
        if (!member->host.up) continue;
        placement_driver_status(member->driver, sim_host_now_us(&member->host), &status);
        sim_note(sim, "placement %u: follows %u, applied %u, timestamps %" PRIu64 " below %" PRIu64,
                 i + 1, (unsigned)status.leader_member, (unsigned)status.applied_index,
                 status.timestamp_next, status.timestamp_bound);
    }
}

/* ---- answers ---- */

static struct asker *asker_new(struct sim_member *member, const struct sim_message *message) {
    struct asker *asker = MEMORY_NEW(struct asker);
    *asker = (struct asker){.member = member,
                            .member_incarnation = member->host.incarnation,
                            .host = message->from,
                            .host_incarnation = message->from_incarnation,
                            .number = message->body ? message->body->number : 0,
                            .worker = message->body ? message->body->worker : 0,
                            .address = message->body ? message->body->address : 0};
    return asker;
}

/* Takes both. */
static void answer(struct asker *asker, enum sim_message_kind kind, struct sim_body *body) {
    struct sim_host *host = &asker->member->host;
    if (host->up && host->incarnation == asker->member_incarnation) {
        sim_send(host->sim, kind, host->index, asker->host, SLICE_EMPTY, body,
                 asker->host_incarnation);
    } else {
        sim_body_free(body);
    }
    memory_free(asker);
}

static const struct sim_node *asking_node(const struct asker *asker) {
    return CONTAINER_OF(asker->member->host.sim->hosts[asker->host], const struct sim_node, host);
}

static void on_registered(void *ctx, const struct placement_register_reply *reply) {
    const struct asker *asker = ctx;
    struct sim_body *body = sim_body_new();
    if (reply->status == STATUS_OK)
        sim_rules_registered(asker->member->host.sim, asking_node(asker), reply->node_id,
                             asker->address);
    body->status = reply->status;
    body->cluster_id = reply->cluster_id;
    body->node_id = reply->node_id;
    answer(ctx, SIM_REGISTERED, body);
}

static void on_timestamps(void *ctx, enum status status, uint64_t first, uint32_t count) {
    struct asker *asker = ctx;
    struct sim_body *body = sim_body_new();
    body->status = status;
    body->first = first;
    body->count = count;
    body->number = asker->number;
    body->worker = asker->worker;
    if (status == STATUS_OK)
        sim_rules_granted(asker->member->host.sim, asker->member, first, count);
    answer(asker, SIM_GRANT, body);
}

static void copy_descriptor(struct range_descriptor *into,
                            const struct placement_descriptor *from) {
    into->range_id = from->range_id;
    buf_assign(&into->start, slice_from_buf(&from->start));
    buf_assign(&into->end, slice_from_buf(&from->end));
    into->epoch = (struct range_epoch){from->epoch.conf_version, from->epoch.span_version};
    into->next_replica_id = from->next_replica_id;
    into->replica_count = from->replica_count;
    for (uint32_t i = 0; i < from->replica_count; i++)
        into->replicas[i] = (struct range_replica_ref){
            .replica_id = from->replicas[i].replica_id,
            .node_id = from->replicas[i].node_id,
            .role = from->replicas[i].role == PLACEMENT_VOTER ? RANGE_VOTER : RANGE_LEARNER};
}

static void receive_registration(struct sim_member *member, const struct sim_message *message) {
    char address[32];
    struct placement_register_request request = {.cluster_id = message->body->cluster_id,
                                                 .node_id = message->body->node_id,
                                                 .incarnation = message->body->incarnation,
                                                 .synced_sequence = message->body->number,
                                                 .version = SLICE_LITERAL("simulated")};
    sim_rules_registers(
        member->host.sim,
        CONTAINER_OF(member->host.sim->hosts[message->from], const struct sim_node, host),
        message->body->address);
    sim_address_text(message->body->address, address, sizeof(address));
    request.address = slice_from_text(address);
    ASSERT_CMP(message->frame.len, ==, sizeof(request.uuid.bytes));
    memcpy(request.uuid.bytes, message->frame.data, sizeof(request.uuid.bytes));
    placement_driver_register(member->driver, &request, sim_host_now_us(&member->host),
                              on_registered, asker_new(member, message));
}

static void tell_addresses(struct sim_member *member, const struct sim_message *heartbeat,
                           const struct placement_heartbeat_reply *reply, struct sim_body *body) {
    struct sim *sim = member->host.sim;
    const struct sim_node *node =
        CONTAINER_OF(sim->hosts[heartbeat->from], const struct sim_node, host);
    body->book_version = reply->address_book_version;
    sim_book_tell(body, reply->nodes, reply->node_count);
    if (reply->node_count > 0)
        sim_rules_addresses(sim, body);
    else if (node->host.incarnation == heartbeat->from_incarnation &&
             node->book.version == heartbeat->body->book_version)
        sim_rules_book(sim, &node->book);
}

static void receive_heartbeat(struct sim_member *member, const struct sim_message *message) {
    const struct sim_body *asked = message->body;
    struct placement_heartbeat_request request = {.cluster_id = asked->cluster_id,
                                                  .node_id = asked->node_id,
                                                  .incarnation = asked->incarnation,
                                                  .synced_sequence = asked->number,
                                                  .wall_ms = asked->wall_ms,
                                                  .address_book_version = asked->book_version,
                                                  .complete = true,
                                                  .report_count = asked->report_count,
                                                  .reports = asked->lists->reports};
    struct placement_heartbeat_reply reply;
    placement_driver_heartbeat(member->driver, &request, sim_host_now_us(&member->host), &reply);
    struct sim_body *body = sim_body_new_with_lists();
    body->status = reply.status;
    if (reply.status == STATUS_OK) {
        body->next_heartbeat_ms = reply.next_heartbeat_ms ? reply.next_heartbeat_ms : 1000;
        ASSERT_CMP(reply.create_count, <=, SIM_RANGES_MAX);
        ASSERT_CMP(reply.wanted_count, <=, SIM_RANGES_MAX);
        body->create_count = reply.create_count;
        for (uint32_t i = 0; i < reply.create_count; i++) {
            copy_descriptor(&body->lists->creates[i].descriptor, reply.creates[i].descriptor);
            body->lists->creates[i].campaign = reply.creates[i].campaign;
        }
        tell_addresses(member, message, &reply, body);
        body->wanted_count = reply.wanted_count;
        for (uint32_t i = 0; i < reply.wanted_count; i++)
            body->lists->wanted[i] = reply.wanted[i];
    }
    answer(asker_new(member, message), SIM_HEARTBEAT_ANSWER, body);
}

/* As from a member that is behind: of a range as it was before a change of its membership. */
static void make_old(struct range_descriptor *descriptor) {
    ASSERT(descriptor->epoch.conf_version > 0);
    descriptor->epoch.conf_version--;
    descriptor->replica_count = 1;
}

static void receive_map_asked(struct sim_member *member, const struct sim_message *message) {
    struct placement_range_map map;
    struct sim_body *body = sim_body_new_with_lists();
    body->status = placement_driver_ranges(member->driver, sim_host_now_us(&member->host), &map);
    if (body->status == STATUS_OK) {
        ASSERT_CMP(map.range_count, <=, SIM_RANGES_MAX);
        body->range_count = map.range_count;
        sim_book_tell(body, map.nodes, map.node_count);
        sim_rules_addresses(member->host.sim, body);
        for (uint32_t i = 0; i < map.range_count; i++) {
            copy_descriptor(&body->lists->ranges[i].descriptor, map.ranges[i].descriptor);
            body->lists->ranges[i].leader_node = map.ranges[i].leader_node;
            if (sim_chance(member->host.sim, 20)) make_old(&body->lists->ranges[i].descriptor);
        }
    }
    answer(asker_new(member, message), SIM_MAP, body);
}

void sim_member_receive(struct sim_member *member, struct sim_message *message) {
    struct sim *sim = member->host.sim;
    uint64_t host_us = sim_host_now_us(&member->host);
    if (message->kind == SIM_MEMBER_FRAME) {
        enum status status =
            placement_driver_message(member->driver, sim->hosts[message->from]->number,
                                     slice_from_buf(&message->frame), host_us);
        if (status != STATUS_OK)
            sim_broken(sim, "members understand each other", "member %u: %s", member->host.number,
                       status_name(status));
    } else if (message->kind == SIM_REGISTER) {
        receive_registration(member, message);
    } else if (message->kind == SIM_HEARTBEAT) {
        receive_heartbeat(member, message);
    } else if (message->kind == SIM_TIMESTAMPS) {
        placement_driver_timestamps(member->driver, (uint32_t)message->body->count, host_us,
                                    on_timestamps, asker_new(member, message));
    } else if (message->kind == SIM_MAP_ASKED) {
        receive_map_asked(member, message);
    }
    schedule(member);
}
