/* What rpc/ counts (rendered by base/metrics.h). */
#ifndef FLOTILLA_RPC_METRICS_H
#define FLOTILLA_RPC_METRICS_H

#include "base/metrics.h"

#define RPC_METRICS(X)                                                                         \
    X(rpc_loop_turns_total, COUNTER, "turns", "turns of the event loop")                       \
    X(rpc_loop_events_total, COUNTER, "events", "completions handled by the event loop")       \
    X(rpc_loop_wakes_total, COUNTER, "wakes", "wake-ups of a sleeping loop by other threads")  \
    X(rpc_connections_refused_total, COUNTER, "connections",                                   \
      "connections refused because no descriptor was left for them")                           \
    X(rpc_server_calls_total, COUNTER, "calls", "unary calls taken by the server")             \
    X(rpc_server_calls_open, GAUGE, "calls", "unary calls being served")                       \
    X(rpc_server_streams_total, COUNTER, "streams", "streams taken by the server")             \
    X(rpc_server_streams_open, GAUGE, "streams", "streams open at the server")                 \
    X(rpc_server_refused_total, COUNTER, "calls", "calls and streams refused by the server")   \
    X(rpc_client_calls_total, COUNTER, "calls", "unary calls made")                            \
    X(rpc_client_retries_total, COUNTER, "calls", "unary calls made again: no answer came")    \
    X(rpc_stream_messages_sent_total, COUNTER, "messages", "messages put on the wire")         \
    X(rpc_stream_merged_total, COUNTER, "messages", "messages that left inside another one")   \
    X(rpc_stream_bytes_sent_total, COUNTER, "bytes", "message bytes put on the wire")          \
    X(rpc_stream_messages_received_total, COUNTER, "messages", "messages received")            \
    X(rpc_stream_bytes_received_total, COUNTER, "bytes", "message bytes received")             \
    X(rpc_stream_queue_full_total, COUNTER, "messages", "messages refused by a full queue")    \
    X(rpc_link_up_total, COUNTER, "links", "links that came up")                               \
    X(rpc_link_down_total, COUNTER, "links", "links that were lost")                           \
    X(rpc_relay_up_total, COUNTER, "relays", "nodes that were reached through another one")    \
    X(rpc_relay_down_total, COUNTER, "relays", "relays that were lost")                        \
    X(rpc_node_raft_frames_dropped_total, COUNTER, "frames", "Raft frames that had no stream") \
    X(rpc_node_snapshot_frames_dropped_total, COUNTER, "frames",                               \
      "snapshot frames that had no stream")                                                    \
    X(rpc_node_sessions_open, GAUGE, "sessions", "request streams of routers")                 \
    X(rpc_node_relays_open, GAUGE, "relays", "streams of routers that go on to another node")  \
    X(rpc_node_request_frames_refused_total, COUNTER, "frames",                                \
      "request frames answered BUSY for a full mailbox")

METRICS_DECLARE(RPC_METRICS)
void rpc_metrics_register(void); /* once per process, before threads start */

#endif
