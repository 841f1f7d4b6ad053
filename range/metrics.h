/* Metrics of the range store. */
#ifndef FLOTILLA_RANGE_METRICS_H
#define FLOTILLA_RANGE_METRICS_H

#include "base/metrics.h"
#include "range/limits.h"

#define RANGE_METRICS(X)                                                                           \
    X(range_turns_total, COUNTER, "turns", "turns of all workers")                                 \
    X(range_synced_turns_total, COUNTER, "turns", "turns that needed an fsync")                    \
    X(range_inline_turns_total, COUNTER, "turns", "turns of idle workers on the network's thread") \
    X(range_requests_total, COUNTER, "requests", "requests taken out of mailboxes")                \
    X(range_refused_busy_total, COUNTER, "requests", "requests refused: too much waits already")   \
    X(range_refused_late_total, COUNTER, "requests", "of them: could not be done in time")         \
    X(range_refused_no_space_total, COUNTER, "requests",                                           \
      "writes refused because the disk is nearly full")                                            \
    X(range_refused_epoch_total, COUNTER, "requests", "requests refused for a stale epoch")        \
    X(range_refused_not_leader_total, COUNTER, "requests", "requests refused: not the leader")     \
    X(range_expired_total, COUNTER, "requests", "requests whose deadline passed here")             \
    X(range_unknown_total, COUNTER, "requests", "writes answered with an unknown outcome")         \
    X(range_entries_proposed_total, COUNTER, "entries", "log entries proposed")                    \
    X(range_commands_proposed_total, COUNTER, "commands", "commands proposed")                     \
    X(range_commands_applied_total, COUNTER, "commands", "commands applied, all replicas")         \
    X(range_reads_total, COUNTER, "requests", "reads served")                                      \
    X(range_reads_leased_total, COUNTER, "requests", "reads served under a lease")                 \
    X(range_reads_stale_total, COUNTER, "requests", "stale reads served by any replica")           \
    X(range_apply_latency_us, HISTOGRAM, "us", "one round of applying, engine write included")     \
    X(range_commit_latency_us, HISTOGRAM, "us", "a command from its proposal to its outcome")      \
    X(range_stage_mailbox_us, HISTOGRAM, "us", "a write in the worker's mailbox")                  \
    X(range_stage_gather_us, HISTOGRAM, "us", "a write waiting to share an entry")                 \
    X(range_stage_timestamp_us, HISTOGRAM, "us", "a write waiting for its timestamp")              \
    X(range_stage_propose_us, HISTOGRAM, "us", "a write from its timestamp until its entry left")  \
    X(range_stage_fsync_us, HISTOGRAM, "us", "a write's entry on its way to the leader's disk")    \
    X(range_stage_quorum_us, HISTOGRAM, "us", "a write's entry from leaving until it is applied")  \
    X(range_stage_apply_us, HISTOGRAM, "us", "a write's apply round")                              \
    X(range_stage_reply_us, HISTOGRAM, "us", "a write from its effects until its answer left")     \
    X(range_stage_total_us, HISTOGRAM, "us", "a write at its leader, all stages")                  \
    X(range_timestamp_latency_us, HISTOGRAM, "us", "a request to the timestamp oracle")            \
    X(range_raft_messages_sent_total, COUNTER, "messages", "Raft messages sent")                   \
    X(range_raft_appends_sent_total, COUNTER, "messages", "appends with entries sent")             \
    X(range_raft_empty_appends_sent_total, COUNTER, "messages",                                    \
      "appends without entries sent: probes, and commits told alone")                              \
    X(range_raft_append_responses_sent_total, COUNTER, "messages", "answers to appends sent")      \
    X(range_raft_heartbeats_sent_total, COUNTER, "messages", "heartbeats of single ranges sent")   \
    X(range_raft_heartbeat_responses_sent_total, COUNTER, "messages",                              \
      "answers to heartbeats of single ranges sent")                                               \
    X(range_raft_messages_received_total, COUNTER, "messages", "Raft messages stepped")            \
    X(range_raft_messages_dropped_total, COUNTER, "messages",                                      \
      "Raft messages dropped: unknown range, stale replica, of no use now")                        \
    X(range_raft_messages_refused_total, COUNTER, "messages",                                      \
      "Raft messages refused: no correct node sends them; the stream was closed")                  \
    X(range_raft_frames_dropped_total, COUNTER, "frames",                                          \
      "Raft and snapshot frames dropped because the mailbox was full")                             \
    X(range_snapshots_sent_total, COUNTER, "snapshots", "snapshots a follower has installed")      \
    X(range_snapshots_failed_total, COUNTER, "snapshots", "snapshots given up by their sender")    \
    X(range_snapshots_installed_total, COUNTER, "snapshots", "snapshots installed here")           \
    X(range_snapshots_outrun_total, COUNTER, "snapshots",                                          \
      "snapshots whose receivers lost the log behind them to RANGE_LOG_SNAPSHOT_*")                \
    X(range_snapshot_followers, GAUGE, "replicas",                                                 \
      "that are sent a snapshot or have not caught up behind one: the log is kept for them")       \
    X(range_snapshot_bytes_sent_total, COUNTER, "bytes", "snapshot frames sent")                   \
    X(range_log_entries_compacted_total, COUNTER, "entries", "log entries deleted")                \
    X(range_beats_sent_total, COUNTER, "beats", "signs of life to other nodes, for all ranges")    \
    X(range_questions_total, COUNTER, "messages",                                                  \
      "asked and answered: whether a replica still is one; idle ones ask in turn")                 \
    X(range_nodes_suspected_total, COUNTER, "nodes",                                               \
      "nodes that fell silent or restarted, as seen by a worker")                                  \
    X(range_quiet, GAUGE, "ranges", "replicas that are quiet: no ticks, no heartbeats")            \
    X(range_leaders, GAUGE, "ranges", "ranges led by this node")                                   \
    X(range_replicas_removed_total, COUNTER, "ranges", "replicas deleted from this node")          \
    X(range_replicas, GAUGE, "ranges", "replicas on this node")

/* Nodes and ranges beyond the numbers have no figures of their own; the others count all. */
#define RANGE_FAMILIES(X)                                                                      \
    X(range_follower_append_us, HISTOGRAM, "us",                                               \
      "an append from a leader here until the follower's node has it on its disk", "node",     \
      RANGE_LABELLED_NODES_MAX)                                                                \
    X(range_write_us, HISTOGRAM, "us", "a write at its leader, all stages, by range", "range", \
      RANGE_LABELLED_RANGES_MAX)

METRICS_DECLARE(RANGE_METRICS)
METRIC_FAMILIES_DECLARE(RANGE_FAMILIES)
void range_metrics_register(void);
void range_families_register(void);

#endif
