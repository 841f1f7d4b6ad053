#include "range/entry_check.h"

#include <inttypes.h>

#include "range/entry.h"
#include "range/limits.h"
#include "range/membership.h"
#include "txn/command.h"

static enum status check_command(struct slice encoded, uint32_t at, uint64_t *last_ts,
                                 struct buf *why) {
    uint64_t commit_ts;
    enum status status = txn_command_walk(encoded, &commit_ts);
    if (status == STATUS_UNSUPPORTED)
        buf_printf(why, "its command %u has format version %u, which this program does not know",
                   at, encoded.data[0]);
    else if (status != STATUS_OK)
        buf_printf(why, "its command %u, of %zu bytes, is malformed", at, encoded.len);
    if (status != STATUS_OK) return status;
    if (commit_ts <= *last_ts) {
        buf_printf(why, "its command %u has timestamp %" PRIu64 ", after one of %" PRIu64, at,
                   commit_ts, *last_ts);
        return STATUS_CORRUPTION;
    }
    *last_ts = commit_ts;
    return STATUS_OK;
}

static enum status check_commands(struct slice bytes, struct buf *why) {
    struct range_entry commands;
    enum status status = range_entry_decode(bytes, &commands);
    if (status == STATUS_UNSUPPORTED) {
        buf_printf(why,
                   "it begins with format version %u and kind %u; this program knows version %u "
                   "with kind %u",
                   bytes.data[0], bytes.len > 1 ? bytes.data[1] : 0, RANGE_ENTRY_VERSION,
                   RANGE_ENTRY_COMMANDS);
        return status;
    }
    if (status != STATUS_OK) {
        buf_printf(why, "its list of commands is malformed");
        return status;
    }
    uint64_t last_ts = 0;
    for (uint32_t i = 0; i < commands.count && status == STATUS_OK; i++)
        status = check_command(range_entry_next(&commands), i, &last_ts, why);
    return status;
}

static enum status check_change(const struct raft_entry *entry, struct buf *why) {
    struct raft_conf_change change;
    struct range_membership membership;
    enum status status = raft_decode_conf_change(entry, &change);
    if (status != STATUS_OK)
        buf_printf(why, "its change of replicas is malformed");
    else if (entry->kind != RAFT_ENTRY_CONF_CHANGE_V2)
        status = STATUS_CORRUPTION, buf_printf(why, "ranges change their replicas another way");
    if (status != STATUS_OK || change.count == 0) return status;
    status = range_membership_decode(change.context, &membership);
    if (status == STATUS_UNSUPPORTED)
        buf_printf(why, "its change of replicas has format version %u; this program knows %u",
                   change.context.data[0], RANGE_MEMBERSHIP_VERSION);
    else if (status != STATUS_OK)
        buf_printf(why, "the replicas that join by its change are malformed");
    return status;
}

enum status range_entry_check(const struct raft_entry *entry, struct buf *why) {
    struct slice bytes = payload_slice(entry->payload);
    if (entry->kind != RAFT_ENTRY_NORMAL) return check_change(entry, why);
    return bytes.len == 0 ? STATUS_OK : check_commands(bytes, why); /* empty: a term begins */
}
