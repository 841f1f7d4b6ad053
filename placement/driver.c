/* Opening and driving the placement driver: turns, leadership, and what a leader does unasked. */
#include "placement/driver.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/memory.h"
#include "placement/birth.h"
#include "placement/metrics.h"
#include "raft/configuration.h"
#include "raft/message_codec.h"
#include "raft/peer.h"

/* A thread that was held up delivers at most so many ticks at once: a burst of them would make a
 * follower call an election before it has looked at the messages that waited. */
#define LATE_TICKS_MAX 3u

void placement_config_defaults(struct placement_config *config) {
    *config = (struct placement_config){
        .member_id = 1,
        .member_count = 1,
        .members = {1},
        .replication_factor = 3,
        .initial_ranges = 1,
        .tick_us = 10 * 1000,
        .heartbeat_ticks = 5,
        .election_ticks = 15,
        .lease_drift_ppm = 10 * 1000,
        .timestamp_window_ms = 3000,
        .silence_ms = 3000,
        .node_heartbeat_ms = 1000,
        .seed = 1,
    };
}

static enum status check_members(const struct placement_config *config, struct buf *error) {
    bool found = false;
    for (uint32_t i = 0; i < config->member_count && i < PLACEMENT_MEMBERS_MAX; i++) {
        if (config->members[i] == config->member_id) found = true;
        for (uint32_t j = 0; j < i; j++) {
            if (config->members[j] == config->members[i]) {
                buf_printf(error, "placement member %" PRIu64 " is listed twice",
                           config->members[i]);
                return STATUS_INVALID;
            }
        }
    }
    if (!config->member_id || !found || config->member_count > PLACEMENT_MEMBERS_MAX ||
        config->member_count % 2 == 0) {
        buf_printf(error,
                   "placement has 1, 3 or 5 members with positive ids, this one (%" PRIu64
                   ") among them",
                   config->member_id);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

static enum status check_config(const struct placement_config *config, struct buf *error) {
    enum status status = check_members(config, error);
    if (status) return status;
    if (config->replication_factor < 1 || config->replication_factor > PLACEMENT_REPLICAS_MAX ||
        config->replication_factor % 2 == 0) {
        buf_printf(error, "replication factor %u: must be odd, 1 to %u", config->replication_factor,
                   PLACEMENT_REPLICAS_MAX - 1);
    } else if (config->birth_nodes && config->birth_nodes < config->replication_factor) {
        buf_printf(error,
                   "%u nodes at birth are fewer than the replication factor %u: every replica of "
                   "a range needs a node of its own",
                   config->birth_nodes, config->replication_factor);
    } else if (config->birth_nodes > PLACEMENT_NODES_MAX) {
        buf_printf(error, "%u nodes at birth: at most %u", config->birth_nodes,
                   PLACEMENT_NODES_MAX);
    } else if (config->initial_ranges < 1 ||
               config->initial_ranges > PLACEMENT_INITIAL_RANGES_MAX) {
        buf_printf(error, "%u initial ranges: must be 1 to %u", config->initial_ranges,
                   PLACEMENT_INITIAL_RANGES_MAX);
    } else if (!config->tick_us || !config->heartbeat_ticks ||
               config->election_ticks <= config->heartbeat_ticks || !config->timestamp_window_ms ||
               !config->silence_ms || !config->node_heartbeat_ms) {
        buf_printf(error, "times must be positive, and election ticks above heartbeat ticks");
    } else {
        return STATUS_OK;
    }
    return STATUS_INVALID;
}

/* Split keys are looked at only by the member that forms the cluster, but a mistake in them is told
 * at every start. */
static enum status read_split_keys(struct placement_driver *driver, const char *text,
                                   struct buf *error) {
    if (text && *text)
        return placement_parse_split_keys(text, &driver->split_keys, &driver->split_key_count,
                                          error);
    placement_even_split_keys(&driver->split_keys, driver->config.initial_ranges);
    driver->split_key_count = driver->config.initial_ranges - 1;
    return STATUS_OK;
}

static uint64_t draw(void *ctx, uint64_t bound) {
    return prng_below(ctx, bound);
}

static void start_raft(struct placement_driver *driver, const struct raft_hard_state *hard_state) {
    const struct placement_config *config = &driver->config;
    struct raft_config raft_config = {
        .id = config->member_id,
        .election_ticks = config->election_ticks,
        .heartbeat_ticks = config->heartbeat_ticks,
        .tick_us = config->tick_us,
        .pre_vote = true,
        .check_quorum = true,
        .async_storage_writes = true,
        .forward_proposals = false,
        .read_mode = RAFT_READ_LEASE,
        .lease_drift_ppm = config->lease_drift_ppm,
        /* Every start may be another one: an answer to a heartbeat, a promise, needs no sync. */
        .restart_grace_us = config->election_ticks * config->tick_us,
        .append_bytes_max = PLACEMENT_COMMAND_BYTES_MAX,
        .apply_bytes_max = 4 * PLACEMENT_COMMAND_BYTES_MAX,
        .inflight_messages_max = 64,
        .inflight_bytes_max = 4 * PLACEMENT_COMMAND_BYTES_MAX,
        .uncommitted_bytes_max = 4 * PLACEMENT_COMMAND_BYTES_MAX,
        .cache_bytes_max = PLACEMENT_COMMAND_BYTES_MAX,
        .random = draw,
        .random_ctx = &driver->prng,
        .log_prefix = "group=placement",
    };
    struct raft_storage storage = placement_driver_storage(driver);
    driver->raft =
        raft_new(&raft_config, &storage, hard_state, &driver->conf, driver->applied.index);
    raft_set_now(driver->raft, driver->now_us);
    /* Nobody else can win the election, so there is nothing to wait for. */
    if (config->member_count == 1 && raft_campaign(driver->raft))
        log_warn("placement_campaign", "member=%" PRIu64 " outcome=waits_for_time_out",
                 config->member_id);
}

enum status placement_driver_open(const struct placement_config *config,
                                  struct storage_engine *engine,
                                  const struct placement_transport *transport,
                                  const struct clock *clock, uint64_t now_us, struct buf *error,
                                  struct placement_driver **ret_driver) {
    enum status status = check_config(config, error);
    if (status) return status;
    struct placement_driver *driver = MEMORY_NEW(struct placement_driver);
    driver->config = *config;
    driver->config.split_keys = NULL;
    if (!config->birth_nodes) driver->config.birth_nodes = config->replication_factor;
    driver->engine = engine;
    driver->transport = *transport;
    driver->clock = clock;
    driver->now_us = now_us;
    driver->next_tick_us = now_us + config->tick_us;
    prng_init(&driver->prng, config->seed);
    list_init(&driver->waiters);
    placement_state_init(&driver->state);
    placement_view_init(&driver->view, now_us);
    driver->timestamps.window_ms = config->timestamp_window_ms;
    driver->queue =
        memory_zalloc(PLACEMENT_TIMESTAMP_QUEUE_MAX * sizeof(struct placement_timestamp_wait));
    driver->batch = storage_batch_new(engine);
    driver->effects = storage_batch_new(engine);
    status = read_split_keys(driver, config->split_keys, error);
    struct raft_hard_state hard_state = {0};
    if (!status) status = placement_driver_recover(driver, &hard_state, error);
    if (status) {
        placement_driver_free(driver);
        return status;
    }
    start_raft(driver, &hard_state);
    *ret_driver = driver;
    return STATUS_OK;
}

void placement_driver_free(struct placement_driver *driver) {
    if (!driver) return;
    placement_driver_fail_waiters(driver, STATUS_SHUTDOWN);
    placement_driver_fail_timestamps(driver, STATUS_SHUTDOWN);
    raft_free(driver->raft);
    storage_batch_free(driver->batch);
    storage_batch_free(driver->effects);
    placement_state_done(&driver->state);
    placement_view_done(&driver->view);
    buf_done(&driver->split_keys);
    buf_done(&driver->scratch);
    buf_done(&driver->text);
    arena_done(&driver->arena);
    arena_done(&driver->answer);
    memory_free(driver->queue);
    memory_free(driver);
}

/* ---- leadership ---- */

void placement_driver_set_now(struct placement_driver *driver, uint64_t now_us) {
    ASSERT_CMP(now_us, >=, driver->now_us);
    driver->now_us = now_us;
    raft_set_now(driver->raft, now_us);
}

bool placement_driver_may_answer(const struct placement_driver *driver) {
    uint64_t index;
    return driver->serving_term && raft_role(driver->raft) == RAFT_LEADER &&
           raft_term(driver->raft) == driver->serving_term && raft_lease_read(driver->raft, &index);
}

static void begin_serving(struct placement_driver *driver) {
    driver->serving_term = raft_term(driver->raft);
    placement_timestamps_begin(&driver->timestamps, driver->state.timestamp_bound);
    placement_driver_begin_clock(driver);
    driver->housekeeping_index = 0;
    driver->note_synced_us = driver->now_us;
    placement_view_done(&driver->view);
    placement_view_init(&driver->view, driver->now_us);
    for (uint32_t i = 0; i < driver->state.range_count; i++)
        placement_view_learn(&driver->view, &driver->state.ranges[i].descriptor);
    metric_set(&metric_placement_leading, 1);
    log_info("placement_leader", "member=%" PRIu64 " term=%" PRIu64 " cluster=%016" PRIx64,
             driver->config.member_id, driver->serving_term, driver->state.cluster_id);
}

static void end_serving(struct placement_driver *driver) {
    log_warn("placement_not_leader", "member=%" PRIu64 " term=%" PRIu64 " leader=%" PRIu64,
             driver->config.member_id, raft_term(driver->raft), raft_leader(driver->raft));
    driver->serving_term = 0;
    metric_set(&metric_placement_leading, 0);
}

void placement_driver_follow_leadership(struct placement_driver *driver) {
    bool leads = raft_role(driver->raft) == RAFT_LEADER;
    uint64_t term = raft_term(driver->raft);
    if (driver->serving_term && (!leads || driver->serving_term != term)) end_serving(driver);
    if (!leads) {
        placement_driver_fail_waiters(driver, STATUS_UNAVAILABLE);
        placement_driver_fail_timestamps(driver, STATUS_NOT_LEADER);
    } else if (!driver->serving_term && driver->applied.term == term) {
        begin_serving(driver);
    }
}

/* ---- what a leader does unasked ---- */

enum status placement_driver_propose(struct placement_driver *driver,
                                     const struct placement_command *command,
                                     struct raft_log_id *ret_id) {
    buf_clear(&driver->scratch);
    placement_command_encode(&driver->scratch, command);
    ASSERT_CMP(driver->scratch.len, <=, PLACEMENT_COMMAND_BYTES_MAX);
    struct payload *payload = payload_copy(slice_from_buf(&driver->scratch));
    enum status status = raft_propose(driver->raft, payload, ret_id);
    payload_unref(payload);
    return status;
}

/* A node that waits for the birth is heard every PLACEMENT_EAGER_HEARTBEAT_MS. Who missed so many
 * of them is not there to be given ranges. */
#define BIRTH_SILENCE_US (50u * PLACEMENT_EAGER_HEARTBEAT_MS * 1000u)

/* Who was heard since the last of all nodes registered: a node whose disk goes with its process
 * registers anew at each start, and those that it was before are silent by then. */
uint32_t placement_driver_living(const struct placement_driver *driver, struct buf *node_ids) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < driver->state.node_count; i++) {
        uint64_t node_id = driver->state.nodes[i].node_id;
        if (!placement_view_beats(&driver->view, node_id) ||
            !placement_view_alive(&driver->view, node_id, driver->now_us, BIRTH_SILENCE_US))
            continue;
        if (node_ids) encode_varint(node_ids, node_id);
        count++;
    }
    return count;
}

/* What the nodes have synced, where the log does not say so yet: one entry for all of them, and no
 * more than one in so long, since every heartbeat of a busy node changes something. A placement
 * that starts again knows what was reported until then. */
static void note_synced(struct placement_driver *driver) {
    if (driver->now_us < driver->note_synced_us) return;
    struct buf nodes = {0};
    struct placement_command command = {.kind = PLACEMENT_SYNCED};
    for (uint32_t i = 0; i < driver->state.node_count; i++) {
        const struct placement_node *node = &driver->state.nodes[i];
        uint64_t sequence = placement_view_synced(&driver->view, node->node_id);
        if (sequence <= node->synced_sequence) continue;
        encode_varint(&nodes, node->node_id);
        encode_varint(&nodes, sequence);
        command.synced.node_count++;
    }
    command.synced.nodes = slice_from_buf(&nodes);
    /* Dropped: the next turn tries again. */
    if (!command.synced.node_count || !placement_driver_propose(driver, &command, NULL))
        driver->note_synced_us = driver->now_us + PLACEMENT_NOTE_SYNCED_MS * 1000;
    buf_done(&nodes);
}

void placement_driver_note_synced_soon(struct placement_driver *driver) {
    driver->note_synced_us = driver->now_us;
    driver->wakened = true;
}

/* The cluster's id is drawn by the first leader ever; should two of them draw one, the log decides.
 * 0 means "none". */
static void form_or_bear(struct placement_driver *driver) {
    if (driver->state.born || driver->housekeeping_index > driver->applied.index) return;
    struct placement_command command = {.kind = PLACEMENT_BIRTH};
    struct buf node_ids = {0};
    if (!driver->state.cluster_id) {
        command.kind = PLACEMENT_FORM;
        command.form = (struct placement_form){
            .cluster_id = prng_next(&driver->prng) | 1,
            .replication_factor = driver->config.replication_factor,
            .birth_nodes = driver->config.birth_nodes,
            .split_key_count = driver->split_key_count,
            .split_keys = slice_from_buf(&driver->split_keys),
        };
    } else {
        command.birth.node_count = placement_driver_living(driver, &node_ids);
        command.birth.node_ids = slice_from_buf(&node_ids);
        if (command.birth.node_count < driver->state.birth_nodes) goto out;
    }
    struct raft_log_id id;
    /* Dropped: the next turn tries again. */
    if (placement_driver_propose(driver, &command, &id) == STATUS_OK)
        driver->housekeeping_index = id.index;
out:
    buf_done(&node_ids);
}

static void tick(struct placement_driver *driver) {
    for (uint32_t i = 0; i < LATE_TICKS_MAX && driver->now_us >= driver->next_tick_us; i++) {
        raft_tick(driver->raft);
        driver->next_tick_us += driver->config.tick_us;
    }
    if (driver->now_us >= driver->next_tick_us)
        driver->next_tick_us = driver->now_us + driver->config.tick_us;
}

/* ---- turns ---- */

bool placement_driver_turn(struct placement_driver *driver, uint64_t now_us) {
    ASSERT(driver->work_count == 0 || driver->sync_needed);
    placement_driver_set_now(driver, now_us);
    driver->wakened = false;
    tick(driver);
    placement_driver_follow_leadership(driver);
    if (driver->serving_term) {
        form_or_bear(driver);
        note_synced(driver);
        placement_driver_follow_clock(driver);
        placement_driver_serve_timestamps(driver);
        placement_driver_extend_bound(driver);
    }
    placement_driver_collect(driver);
    if (driver->sync_needed) return true;
    placement_driver_finish_works(driver);
    return false;
}

struct storage_batch *placement_driver_batch(struct placement_driver *driver) {
    return driver->batch;
}

void placement_driver_synced(struct placement_driver *driver, uint64_t now_us) {
    ASSERT(driver->sync_needed);
    placement_driver_set_now(driver, now_us);
    storage_batch_clear(driver->batch);
    driver->sync_needed = false;
    placement_driver_finish_works(driver);
}

bool placement_driver_pending(const struct placement_driver *driver) {
    return driver->wakened || driver->work_count > 0 || raft_has_ready(driver->raft);
}

uint64_t placement_driver_next_us(const struct placement_driver *driver) {
    return driver->next_tick_us;
}

void placement_driver_run(struct placement_driver *driver, uint64_t now_us) {
    do {
        if (!placement_driver_turn(driver, now_us)) continue;
        enum status status = storage_write(driver->engine, driver->batch, STORAGE_SYNCED);
        if (status)
            fatal("placement member %" PRIu64 ": writing its log failed: %s; it stops, because "
                  "nothing may be promised any more",
                  driver->config.member_id, status_text(status));
        if (driver->clock->monotonic_us) now_us = clock_monotonic_us(driver->clock);
        placement_driver_synced(driver, now_us);
    } while (placement_driver_pending(driver));
}

/* What would stop this member when it is applied is not let in. */
static bool may_be_stepped(const struct placement_driver *driver,
                           const struct raft_message *message, struct buf *why) {
    static const struct raft_peer_rules rules = {.snapshots = true,
                                                 .check_entry = placement_driver_check_entry};
    struct raft_id_set members;
    raft_conf_state_members(&driver->conf, &members);
    if (!raft_id_set_has(&members, message->from)) {
        buf_printf(why, "the sender is no member");
        return false;
    }
    if (raft_peer_check(message, &rules, why) != STATUS_OK) return false;
    if (!message->snapshot) return true;
    struct placement_state state;
    placement_state_init(&state);
    enum status status = placement_state_restore(&state, payload_slice(message->snapshot->data));
    placement_state_done(&state);
    if (status != STATUS_OK) buf_printf(why, "its snapshot: %s", status_text(status));
    return status == STATUS_OK;
}

/* Whoever of the two has lost entries must not promise anything more. */
static _Noreturn void stop_without_log(const struct placement_driver *driver,
                                       uint64_t from_member) {
    fatal("placement member %" PRIu64 ": its log contradicts what the leading member %" PRIu64
          " knows to be durable here or committed: one of the two has lost what it had promised to "
          "keep (an older copy of a directory, a disk that lies about what it has synced). Put "
          "that member's newest directory back",
          driver->config.member_id, from_member);
}

enum status placement_driver_message(struct placement_driver *driver, uint64_t from_member,
                                     struct slice frame, uint64_t now_us) {
    placement_driver_set_now(driver, now_us);
    struct decoder in = decoder_make(frame);
    struct raft_message message;
    if (decode_u8(&in) != PLACEMENT_FRAME_VERSION) return STATUS_CORRUPTION;
    uint64_t wall_ms = decode_u64(&in);
    arena_reset(&driver->arena);
    enum status status = raft_decode_message(&in, &driver->arena, &message);
    if (status) return status;
    struct buf why = {0};
    bool honest = decoder_finished(&in) && message.from == from_member &&
                  message.to == driver->config.member_id;
    if (!honest) buf_printf(&why, "it is cut short, or not of that member, or not for this one");
    honest = honest && may_be_stepped(driver, &message, &why);
    if (honest) placement_driver_hear_member(driver, from_member, wall_ms);
    if (honest) status = raft_step(driver->raft, &message);
    if (status == STATUS_CORRUPTION) stop_without_log(driver, from_member);
    if (honest && status == STATUS_INVALID) {
        buf_printf(&why, "it contradicts what this member knows");
        honest = false;
    }
    if (!honest)
        log_error("placement_message_refused",
                  "member=%" PRIu64 " from_member=%" PRIu64 " kind=%s term=%" PRIu64
                  " index=%" PRIu64 " reason=\"%.*s\"",
                  driver->config.member_id, from_member, raft_message_name(message.kind),
                  message.term, message.log.index, (int)why.len, (const char *)why.data);
    raft_message_done(&message);
    buf_done(&why);
    return honest ? STATUS_OK : STATUS_CORRUPTION;
}

void placement_driver_check(const struct placement_driver *driver) {
    raft_check(driver->raft);
    placement_state_check(&driver->state);
    placement_view_check(&driver->view);
    ASSERT_CMP(driver->applied.index, >=, driver->log_base.index);
    ASSERT_CMP(driver->queue_count, <=, PLACEMENT_TIMESTAMP_QUEUE_MAX);
    ASSERT((driver->queue_count == 0) == (driver->queued_timestamps == 0));
    ASSERT(list_empty(&driver->waiters) == (driver->waiter_count == 0));
    ASSERT(!driver->serving_term || driver->timestamps.bound <= driver->state.timestamp_bound);
}
