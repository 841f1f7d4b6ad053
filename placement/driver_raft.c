/* The Raft side of the driver: recovery, the log as the core sees it, and what becomes of a ready
 * work.
 *
 * Order within a turn, and why nothing is promised too early:
 *   collect  sends messages that promise nothing, puts entries, hard state and an arriving snapshot
 *            into `batch`
 *   sync     by the owner of the driver
 *   finish   tells the core what is durable, sends the promises, applies what is committed: effects
 *            and applied index go into one buffered write, after the synced log they came from; so
 *            after a crash the effects are a prefix and the log re-makes the rest */
#include <inttypes.h>

#include "base/assert.h"
#include "placement/driver.h"
#include "raft/message_codec.h"

/* ---- recovery ---- */

static enum status read_hard_state(const struct raft_log *log, struct raft_hard_state *ret) {
    struct buf bytes = {0};
    enum status status = raft_log_get_state(log, RAFT_LOG_HARD_STATE, &bytes);
    if (!status) status = raft_decode_hard_state(slice_from_buf(&bytes), ret);
    buf_done(&bytes);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static bool same_members(const struct placement_driver *driver) {
    if (driver->conf.voters.count != driver->config.member_count) return false;
    for (uint32_t i = 0; i < driver->config.member_count; i++) {
        bool found = false;
        for (uint32_t j = 0; j < driver->conf.voters.count; j++) {
            if (driver->conf.voters.ids[j] == driver->config.members[i]) found = true;
        }
        if (!found) return false;
    }
    return true;
}

/* A directory that a node uses must not become placement's: its identity record is there. */
static enum status check_not_a_node(const struct placement_driver *driver, struct buf *error) {
    struct buf identity = {0};
    enum status status =
        storage_get(driver->engine, NULL, STORAGE_META, SLICE_LITERAL("\0i"), &identity);
    buf_done(&identity);
    if (status == STATUS_NOT_FOUND) return STATUS_OK;
    if (status) return status;
    buf_printf(error, "the data directory belongs to a range store (flotilla node): give placement "
                      "a directory of its own");
    return STATUS_MISMATCH;
}

static enum status start_empty(struct placement_driver *driver, struct buf *error) {
    if (driver->log.last_index) return STATUS_CORRUPTION;
    enum status status = check_not_a_node(driver, error);
    if (status) return status;
    struct raft_id_set *voters = &driver->conf.voters;
    for (uint32_t i = 0; i < driver->config.member_count; i++) {
        uint32_t at = voters->count++;
        for (; at && voters->ids[at - 1] > driver->config.members[i]; at--)
            voters->ids[at] = voters->ids[at - 1];
        voters->ids[at] = driver->config.members[i];
    }
    placement_driver_put_apply_state(driver, driver->effects);
    status = storage_write(driver->engine, driver->effects, STORAGE_SYNCED);
    storage_batch_clear(driver->effects);
    return status;
}

static enum status continue_from(struct placement_driver *driver, struct slice apply_state,
                                 struct buf *error) {
    uint64_t member_id = 0;
    enum status status = placement_driver_read_apply_state(driver, apply_state, &member_id);
    if (status) return status;
    if (member_id != driver->config.member_id) {
        buf_printf(error,
                   "the data directory belongs to placement member %" PRIu64 ", this is member "
                   "%" PRIu64 ": give each member its own directory and id",
                   member_id, driver->config.member_id);
        return STATUS_MISMATCH;
    }
    if (!same_members(driver)) {
        buf_printf(error,
                   "the configured placement members are not those that the group was "
                   "formed with (%u of them): configure the same list of ids",
                   driver->conf.voters.count);
        return STATUS_MISMATCH;
    }
    if (driver->log_base.index != driver->log.first_index - 1 ||
        driver->applied.index < driver->log_base.index ||
        driver->applied.index > driver->log.last_index)
        return STATUS_CORRUPTION;
    return placement_state_load(&driver->state, driver->engine);
}

enum status placement_driver_recover(struct placement_driver *driver,
                                     struct raft_hard_state *ret_hard_state, struct buf *error) {
    struct buf apply_state = {0};
    enum status status = raft_log_open(&driver->log, driver->engine, PLACEMENT_RAFT_GROUP);
    if (status) goto out;
    status = raft_log_get_state(&driver->log, RAFT_LOG_APPLY_STATE, &apply_state);
    if (status == STATUS_NOT_FOUND) {
        status = start_empty(driver, error);
        goto out;
    }
    if (!status) status = continue_from(driver, slice_from_buf(&apply_state), error);
    if (!status) status = read_hard_state(&driver->log, ret_hard_state);
    /* The commit index may have been written before a later one was applied, never the reverse,
     * but a hard state is synced only when a promise needs it. */
    if (!status && ret_hard_state->commit < driver->applied.index)
        ret_hard_state->commit = driver->applied.index;
out:
    if (status && !error->len)
        buf_printf(error, "placement cannot recover from its data directory: %s",
                   status_text(status));
    buf_done(&apply_state);
    return status;
}

/* ---- the log as the core sees it ---- */

static uint64_t first_index(void *ctx) {
    return ((struct placement_driver *)ctx)->log.first_index;
}

static uint64_t last_index(void *ctx) {
    return ((struct placement_driver *)ctx)->log.last_index;
}

struct entry_reader {
    struct raft_entry *entries;
    uint32_t count;
    size_t bytes, bytes_max;
    enum status status;
};

static bool read_entry(void *ctx, uint64_t index, struct slice bytes) {
    struct entry_reader *reader = ctx;
    struct raft_entry entry;
    reader->status = raft_decode_entry(bytes, index, &entry);
    if (reader->status) return false;
    size_t len = payload_slice(entry.payload).len;
    if (reader->count && reader->bytes + len > reader->bytes_max) {
        payload_unref(entry.payload);
        return false;
    }
    reader->bytes += len;
    reader->entries[reader->count++] = entry;
    return true;
}

static enum status read_entries(void *ctx, uint64_t first, uint64_t last, size_t max_bytes,
                                struct raft_entry *ret_entries, uint32_t *ret_count) {
    const struct placement_driver *driver = ctx;
    struct entry_reader reader = {.entries = ret_entries, .bytes_max = max_bytes};
    enum status status = raft_log_read(&driver->log, first, last, read_entry, &reader);
    if (!status) status = reader.status;
    if (status) {
        for (uint32_t i = 0; i < reader.count; i++)
            payload_unref(ret_entries[i].payload);
        return status;
    }
    *ret_count = reader.count;
    return STATUS_OK;
}

static enum status read_term(void *ctx, uint64_t index, uint64_t *ret_term) {
    const struct placement_driver *driver = ctx;
    if (index == driver->log_base.index) {
        *ret_term = driver->log_base.term;
        return STATUS_OK;
    }
    struct raft_entry entry;
    struct buf bytes = {0};
    enum status status = raft_log_get(&driver->log, index, &bytes);
    if (!status) status = raft_decode_entry(slice_from_buf(&bytes), index, &entry);
    buf_done(&bytes);
    if (status) return status;
    *ret_term = entry.id.term;
    payload_unref(entry.payload);
    return STATUS_OK;
}

/* The state is small, so it travels whole inside the message. */
static enum status make_snapshot(void *ctx, uint64_t to, struct raft_snapshot *ret_snapshot) {
    const struct placement_driver *driver = ctx;
    struct buf bytes = {0};
    placement_state_snapshot(&driver->state, &bytes);
    if (bytes.len > PLACEMENT_SNAPSHOT_BYTES_MAX)
        log_error("placement_snapshot", "bytes=%zu limit=%u to=%" PRIu64, bytes.len,
                  PLACEMENT_SNAPSHOT_BYTES_MAX, to);
    *ret_snapshot = (struct raft_snapshot){
        .id = driver->applied,
        .conf = driver->conf,
        .data = payload_copy(slice_from_buf(&bytes)),
    };
    buf_done(&bytes);
    return STATUS_OK;
}

struct raft_storage placement_driver_storage(struct placement_driver *driver) {
    return (struct raft_storage){
        .ctx = driver,
        .first_index = first_index,
        .last_index = last_index,
        .term = read_term,
        .entries = read_entries,
        .snapshot = make_snapshot,
    };
}

/* ---- ready works ---- */

static void send_messages(struct placement_driver *driver, const struct raft_message *messages,
                          uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (messages[i].to == driver->config.member_id) {
            /* A promise to itself is a message that no other peer sent, so it cannot be invalid. */
            enum status status = raft_step(driver->raft, &messages[i]);
            ASSERT(status != STATUS_INVALID);
            continue;
        }
        if (!driver->transport.send) continue;
        buf_clear(&driver->scratch);
        encode_u8(&driver->scratch, PLACEMENT_FRAME_VERSION);
        encode_u64(&driver->scratch, clock_wall_ms(driver->clock));
        raft_encode_message(&driver->scratch, &messages[i]);
        driver->transport.send(driver->transport.ctx, messages[i].to,
                               slice_from_buf(&driver->scratch));
        /* A snapshot is one frame; when it is lost, the next heartbeat's answer finds out. */
        if (messages[i].kind == RAFT_MSG_SNAPSHOT)
            raft_report_snapshot(driver->raft, messages[i].to, false);
    }
}

/* The arriving state replaces this member's at once: entries up to it that this turn still has to
 * apply are skipped (placement_driver_apply). Its records become durable with the log's reset. */
static void install_snapshot(struct placement_driver *driver,
                             const struct raft_snapshot *snapshot) {
    struct placement_state state;
    placement_state_init(&state);
    enum status status = placement_state_restore(&state, payload_slice(snapshot->data));
    if (status)
        fatal("placement member %" PRIu64 ": the leader's snapshot at index %" PRIu64
              " cannot be read (%s); is this member's binary older than the leader's?",
              driver->config.member_id, snapshot->id.index, status_text(status));
    placement_state_done(&driver->state);
    driver->state = state;
    driver->conf = snapshot->conf;
    driver->applied = snapshot->id;
    driver->log_base = snapshot->id;
    raft_log_reset(&driver->log, driver->batch, snapshot->id.index);
    placement_state_replace_records(&driver->state, driver->batch);
    placement_driver_put_apply_state(driver, driver->batch);
    log_info("placement_snapshot_installed", "member=%" PRIu64 " index=%" PRIu64,
             driver->config.member_id, snapshot->id.index);
}

static void put_log(struct placement_driver *driver, const struct raft_ready *ready) {
    for (uint32_t i = 0; i < ready->entry_count; i++) {
        buf_clear(&driver->scratch);
        raft_encode_entry(&driver->scratch, &ready->entries[i]);
        raft_log_append(&driver->log, driver->batch, ready->entries[i].id.index,
                        slice_from_buf(&driver->scratch));
    }
    if (!ready->has_hard_state) return;
    buf_clear(&driver->scratch);
    raft_encode_hard_state(&driver->scratch, &ready->hard_state);
    raft_log_put_state(&driver->log, driver->batch, RAFT_LOG_HARD_STATE,
                       slice_from_buf(&driver->scratch));
}

void placement_driver_collect(struct placement_driver *driver) {
    while (driver->work_count < PLACEMENT_WORKS_MAX && raft_has_ready(driver->raft)) {
        struct raft_ready ready;
        raft_ready(driver->raft, &ready);
        send_messages(driver, ready.messages, ready.message_count);
        if (ready.snapshot) install_snapshot(driver, ready.snapshot);
        put_log(driver, &ready);
        if (ready.must_sync || ready.snapshot || ready.entry_count) driver->sync_needed = true;
        driver->works[driver->work_count++] = (struct placement_work){
            .append = ready.append,
            .after_append = ready.messages_after_append,
            .after_append_count = ready.message_after_append_count,
            .committed = ready.committed,
            .committed_count = ready.committed_count,
        };
    }
}

/* What needed no sync (a commit index that moved) only has to be there before what follows it. */
static void write_unsynced(struct placement_driver *driver, struct storage_batch *batch) {
    if (!storage_batch_count(batch)) return;
    enum status status = storage_write(driver->engine, batch, STORAGE_BUFFERED);
    if (status)
        fatal("placement member %" PRIu64 ": writing what was applied failed: %s",
              driver->config.member_id, status_text(status));
    storage_batch_clear(batch);
}

/* Stepping this member's own promises can make more work ready (a group of one commits at once).
 * It is done here as long as it promises nothing new; the rest waits for the next turn. */
void placement_driver_finish_works(struct placement_driver *driver) {
    while (driver->work_count && !driver->sync_needed) {
        write_unsynced(driver, driver->batch);
        for (uint32_t i = 0; i < driver->work_count; i++) {
            const struct placement_work *work = &driver->works[i];
            if (work->append.any) raft_append_done(driver->raft, &work->append);
            send_messages(driver, work->after_append, work->after_append_count);
        }
        for (uint32_t i = 0; i < driver->work_count; i++)
            placement_driver_apply(driver, driver->works[i].committed,
                                   driver->works[i].committed_count);
        write_unsynced(driver, driver->effects);
        driver->work_count = 0;
        placement_driver_follow_leadership(driver);
        if (driver->serving_term) {
            placement_driver_serve_timestamps(driver);
            placement_driver_extend_bound(driver);
        }
        placement_driver_collect(driver);
    }
}
