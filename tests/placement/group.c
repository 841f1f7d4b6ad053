#include "tests/placement/group.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/memory.h"

static uint64_t monotonic_us(void *ctx) {
    return ((struct group *)ctx)->now_us;
}

static uint64_t wall_ms(void *ctx) {
    return ((struct group *)ctx)->wall_ms;
}

void group_init(struct group *group, uint32_t count, uint64_t seed,
                const struct placement_config *config) {
    *group = (struct group){.count = count,
                            .now_us = 1000000,
                            .wall_ms = UINT64_C(1700000000000),
                            .delay_us_max = 1000,
                            .crash_countdown = UINT64_MAX};
    group->clock = (struct clock){group, monotonic_us, wall_ms};
    prng_init(&group->prng, seed);
    if (config) {
        group->config = *config;
    } else {
        placement_config_defaults(&group->config);
        group->config.replication_factor = 1;
    }
    group->config.member_count = count;
    for (uint32_t i = 0; i < count; i++) {
        group->config.members[i] = i + 1;
        group->members[i] =
            (struct group_member){.group = group, .id = i + 1, .engine = memory_engine_new()};
    }
    for (uint32_t i = 0; i < count; i++)
        group_start(group, i);
}

void group_done(struct group *group) {
    for (uint32_t i = 0; i < group->count; i++) {
        placement_driver_free(group->members[i].driver);
        storage_close(group->members[i].engine);
    }
    for (size_t i = 0; i < group->message_count; i++)
        buf_done(&group->messages[i].frame);
    memory_free(group->messages);
}

static void post(struct group *group, uint64_t from, uint64_t to, struct slice frame) {
    if (group->message_count == group->message_cap) {
        group->message_cap = group->message_cap ? group->message_cap * 2 : 64;
        group->messages =
            memory_realloc(group->messages, group->message_cap * sizeof(*group->messages));
    }
    group->messages[group->message_count++] = (struct group_message){
        .due_us = group->now_us + prng_below(&group->prng, group->delay_us_max + 1),
        .from = from,
        .to = to,
        .frame = buf_from_slice(frame),
    };
}

static void send(void *ctx, uint64_t to, struct slice frame) {
    struct group_member *member = ctx;
    struct group *group = member->group;
    if (group->cut[member->id] || group->cut[to]) return;
    if (prng_below(&group->prng, 100) < group->loss_percent) return;
    post(group, member->id, to, frame);
    if (prng_below(&group->prng, 100) < group->repeat_percent) post(group, member->id, to, frame);
}

void group_start(struct group *group, uint32_t index) {
    struct group_member *member = &group->members[index];
    struct placement_config config = group->config;
    struct placement_transport transport = {.ctx = member, .send = send};
    struct buf error = {0};
    config.member_id = member->id;
    config.seed = prng_next(&group->prng);
    enum status status = placement_driver_open(&config, member->engine, &transport, &group->clock,
                                               group->now_us, &error, &member->driver);
    if (status) fatal("%.*s", (int)error.len, (const char *)error.data);
    buf_done(&error);
}

void group_crash(struct group *group, uint32_t index) {
    struct group_member *member = &group->members[index];
    placement_driver_free(member->driver);
    member->driver = NULL;
    size_t unsynced = memory_engine_unsynced_writes(member->engine);
    memory_engine_crash(member->engine, prng_below(&group->prng, unsynced + 1));
}

void group_stop(struct group *group, uint32_t index) {
    placement_driver_free(group->members[index].driver);
    group->members[index].driver = NULL;
}

/* True: this is where it crashes. */
static bool crash_point(struct group *group, struct group_member *member) {
    group->crash_points++;
    if (group->crash_countdown == UINT64_MAX || group->crash_countdown-- > 0) return false;
    group->crash_countdown = UINT64_MAX;
    group_crash(group, (uint32_t)(member->id - 1));
    return true;
}

/* One turn; false when the member is down or has nothing to do. */
static bool work(struct group *group, struct group_member *member) {
    struct placement_driver *driver = member->driver;
    if (!driver ||
        (!placement_driver_pending(driver) && placement_driver_next_us(driver) > group->now_us))
        return false;
    if (placement_driver_turn(driver, group->now_us)) {
        if (crash_point(group, member)) return false;
        ASSERT(!storage_write(member->engine, placement_driver_batch(driver), STORAGE_SYNCED));
        if (crash_point(group, member)) return false;
        placement_driver_synced(driver, group->now_us);
    }
    if (crash_point(group, member)) return false;
    placement_driver_check(driver);
    return true;
}

static bool deliver(struct group *group) {
    bool any = false;
    for (size_t i = 0; i < group->message_count;) {
        struct group_message message = group->messages[i];
        if (message.due_us > group->now_us) {
            i++;
            continue;
        }
        group->messages[i] = group->messages[--group->message_count];
        struct group_member *member = &group->members[message.to - 1];
        if (member->driver && !group->cut[message.to])
            ASSERT(!placement_driver_message(member->driver, message.from,
                                             slice_from_buf(&message.frame), group->now_us));
        buf_done(&message.frame);
        any = true;
    }
    return any;
}

void group_settle(struct group *group) {
    bool any = true;
    while (any) {
        any = deliver(group);
        for (uint32_t i = 0; i < group->count; i++)
            any = work(group, &group->members[i]) || any;
    }
}

void group_run(struct group *group, uint64_t us) {
    uint64_t until_us = group->now_us + us;
    group_settle(group);
    while (group->now_us < until_us) {
        uint64_t before_ms = group->now_us / 1000;
        group->now_us += GROUP_STEP_US;
        group->wall_ms += group->now_us / 1000 - before_ms;
        group_settle(group);
    }
}

struct group_member *group_leader(struct group *group) {
    for (uint32_t i = 0; i < group->count; i++) {
        struct placement_range_map map;
        struct group_member *member = &group->members[i];
        if (member->driver && !group->cut[member->id] &&
            !placement_driver_ranges(member->driver, group->now_us, &map) && map.cluster_id)
            return member;
    }
    return NULL;
}

struct group_member *group_wait_leader(struct group *group) {
    for (uint32_t i = 0; i < 5000; i++) {
        struct group_member *leader = group_leader(group);
        if (leader) return leader;
        group_run(group, GROUP_STEP_US);
    }
    return NULL;
}

/* ---- a node's calls ---- */

struct placement_register_request group_node(uint64_t number) {
    static char addresses[64][32];
    ASSERT_CMP(number, <, 64);
    (void)snprintf(addresses[number], sizeof(addresses[number]), "10.0.0.%u:7101",
                   (unsigned)number);
    struct placement_register_request request = {
        .incarnation = placement_incarnation(1, number),
        .address = slice_from_text(addresses[number]),
        .version = slice_from_text("0.1.0"),
    };
    memset(request.uuid.bytes, (int)number, sizeof(request.uuid.bytes));
    return request;
}

static void registered(void *ctx, const struct placement_register_reply *reply) {
    struct group_registration *result = ctx;
    ASSERT(!result->answered);
    *result = (struct group_registration){
        .answered = true,
        .status = reply->status,
        .cluster_id = reply->cluster_id,
        .node_id = reply->node_id,
        .retry_after_ms = reply->retry_after_ms,
    };
    (void)snprintf(result->text, sizeof(result->text), "%.*s", (int)reply->text.len,
                   (const char *)reply->text.data);
}

void group_register_begin(struct group *group, struct group_member *member,
                          const struct placement_register_request *request,
                          struct group_registration *result) {
    *result = (struct group_registration){0};
    placement_driver_register(member->driver, request, group->now_us, registered, result);
}

struct group_registration group_register(struct group *group,
                                         const struct placement_register_request *request) {
    struct group_registration result = {.status = STATUS_UNAVAILABLE};
    for (uint32_t i = 0; i < 100; i++) {
        struct group_member *leader = group_wait_leader(group);
        ASSERT(leader);
        group_register_begin(group, leader, request, &result);
        for (uint32_t j = 0; j < 5000 && !result.answered; j++)
            group_run(group, GROUP_STEP_US);
        ASSERT(result.answered);
        if (result.status != STATUS_NOT_LEADER && result.status != STATUS_UNAVAILABLE &&
            result.status != STATUS_SHUTDOWN)
            break;
        group_run(group, 50000);
    }
    return result;
}

void group_beat(struct group *group, uint64_t number) {
    struct group_member *leader = group_leader(group);
    struct placement_status status;
    struct placement_heartbeat_reply reply;
    if (!leader) return;
    placement_driver_status(leader->driver, group->now_us, &status);
    struct placement_heartbeat_request request = {
        .cluster_id = status.cluster_id,
        .node_id = number,
        .incarnation = group_node(number).incarnation,
        .complete = true,
        .wall_ms = (uint64_t)((int64_t)group->wall_ms + group->node_wall_ms),
    };
    placement_driver_heartbeat(leader->driver, &request, group->now_us, &reply);
}

void group_give_birth(struct group *group, uint32_t count) {
    for (uint32_t i = 1; i <= count; i++) {
        struct placement_register_request request = group_node(i);
        struct group_registration result = group_register(group, &request);
        ASSERT(result.status == STATUS_OK);
        ASSERT_CMP(result.node_id, ==, i);
    }
    for (uint32_t i = 0; i < 1000; i++) {
        struct group_member *leader = group_wait_leader(group);
        struct placement_status status;
        ASSERT(leader);
        placement_driver_status(leader->driver, group->now_us, &status);
        if (status.born) return;
        for (uint64_t node = 1; node <= count; node++)
            group_beat(group, node);
        group_run(group, GROUP_STEP_US);
    }
    ASSERT(!"the cluster was not born");
}

void group_timestamps_done(void *ctx, enum status status, uint64_t first, uint32_t count) {
    struct group_timestamps *result = ctx;
    ASSERT(!result->answered);
    *result = (struct group_timestamps){true, status, first, count};
}
