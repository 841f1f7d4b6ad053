/* Bounds of rpc/. Each is a promise about memory or time, and each is named in the error that a
 * caller sees when it is reached. */
#ifndef FLOTILLA_RPC_LIMITS_H
#define FLOTILLA_RPC_LIMITS_H

/* One message, either way. Above the largest command (txn/limits.h) with room for its envelope. */
#define RPC_MESSAGE_BYTES_MAX (16u * 1024u * 1024u)

/* A request of a method that is told a name or nothing. */
#define RPC_SMALL_REQUEST_BYTES_MAX 65536u
/* Elements of lists in one message of a Pipe, all depths together: calls, their keys, guards and
 * operations. More than a merged message of the smallest ones can hold. */
#define RPC_PIPE_ELEMENTS_MAX 65536u
/* Requests for timestamps that may be outstanding on one stream. */
#define RPC_TIMESTAMP_ASKS_MAX 4096u
/* Frames in one message of a stream between nodes and routers: senders merge up to
 * RPC_STREAM_MERGE_COUNT_MAX of them. */
#define RPC_FRAMES_PER_MESSAGE_MAX 1024u

/* Bytes that may wait in one stream's send queue, unless the stream says otherwise. */
#define RPC_STREAM_QUEUE_BYTES_DEFAULT (64u * 1024u * 1024u)
/* What a waiting message counts beyond its own bytes, so that many tiny ones are bounded too. */
#define RPC_STREAM_MESSAGE_OVERHEAD_BYTES 64u
/* Messages that wait together are merged (rpc/stream.h) up to this size: large enough to make the
 * cost of a message vanish, small enough that the receiver need not gather far-apart buffers. */
#define RPC_STREAM_MERGE_BYTES_MAX (256u * 1024u)
#define RPC_STREAM_MERGE_COUNT_MAX 256u

/* A server's own bounds, unless its configuration says otherwise; beyond: RESOURCE_EXHAUSTED. */
#define RPC_SERVER_CALLS_DEFAULT 8192u                          /* unary calls being served */
#define RPC_SERVER_STREAMS_DEFAULT 4096u                        /* streams open */
#define RPC_SERVER_REQUEST_BYTES_DEFAULT (256u * 1024u * 1024u) /* of unary calls being served */
#define RPC_SERVER_METHODS_MAX 64u
/* All that the core may hold for a server's connections: half-received messages above all, which
 * are counted nowhere else. The core reads more slowly, then drops connections. */
#define RPC_SERVER_MEMORY_BYTES_MAX (1024u * 1024u * 1024u)
/* A connection that says nothing is closed after this. */
#define RPC_SERVER_HANDSHAKE_TIMEOUT_MS 10000
/* A connection without calls is closed after this; channels connect again when they need one. */
#define RPC_CONNECTION_IDLE_MS 300000
/* Connections that are refused at a time while there is no room; then the loop turns. */
#define RPC_REFUSALS_PER_TURN 4096u
/* How often that is logged. */
#define RPC_REFUSALS_LOG_INTERVAL_US 10000000u
/* Arrivals that the core may report per method before the loop posts the next request for one. */
#define RPC_SERVER_UNARY_ACCEPTS 16u
#define RPC_SERVER_STREAM_ACCEPTS 2u
/* Concurrent calls that one connection may have open (HTTP/2 setting; clients queue beyond). */
#define RPC_SERVER_CALLS_PER_CONNECTION 4096

/* What a router is told to wait before it asks an overloaded node again. */
#define RPC_NODE_RETRY_AFTER_US 5000u

/* Relays (rpc/relay.h, node_relays.c). A node takes so many, each with a connection of its own to
 * the node that it leads to; */
#define RPC_NODE_RELAYS_MAX 64u
/* with so much waiting for either side: nothing more is received from one while a quarter of that
 * waits for the other. */
#define RPC_RELAY_QUEUE_BYTES_MAX (24u * 1024u * 1024u)
/* A relay that is not open by then, named or not, is closed by the node that was asked for it. */
#define RPC_RELAY_OPEN_MS 2000u
/* A router looks for a relay when its own link has been down for so long: after a restart or an
 * election it would only be in the way. */
#define RPC_RELAY_AFTER_MS 300u
/* How long it waits for each node that it asks, and the least time from one round of asking them
 * all to the next. */
#define RPC_RELAY_DIAL_MS 1000u
#define RPC_RELAY_ROUND_MS 1000u
/* How long a relay is kept for what it was asked, once the node can be reached directly: as long as
 * requests wait that bring no deadline. */
#define RPC_RELAY_LINGER_MS 5000u

/* Events handled in one turn of a loop before its end-of-turn hooks run. */
#define RPC_LOOP_EVENTS_PER_TURN 512u

/* What a peer may send ahead on a stream before it hears that it was read. The core would find a
 * size of its own by measuring with pings: two more writes per message where messages are few. */
#define RPC_WINDOW_BYTES (1024 * 1024)

/* A peer that is frozen or cut off is noticed after the sum of these. */
#define RPC_KEEPALIVE_TIME_MS 2000
#define RPC_KEEPALIVE_TIMEOUT_MS 2000
/* How long one attempt to connect may take before the next address or attempt. */
#define RPC_CONNECT_TIMEOUT_MS 1000
/* Back-off of a channel between attempts to connect (the core allows no less than 100 ms; a link
 * resets it on its own, shorter schedule). */
#define RPC_CHANNEL_BACKOFF_MIN_MS 100
#define RPC_CHANNEL_BACKOFF_MAX_MS 500
/* Back-off of a link (rpc/client.h). */
#define RPC_LINK_BACKOFF_MIN_MS 20u
#define RPC_LINK_BACKOFF_MAX_MS 500u
/* A stream that lasted so long was a success, however it ended. */
#define RPC_LINK_LASTED_MS 2000u

_Static_assert(RPC_STREAM_QUEUE_BYTES_DEFAULT >= 2 * RPC_MESSAGE_BYTES_MAX,
               "a queue must take the largest message even while another one leaves");
_Static_assert(RPC_SERVER_MEMORY_BYTES_MAX >=
                   2 * RPC_SERVER_REQUEST_BYTES_DEFAULT + 4 * RPC_MESSAGE_BYTES_MAX,
               "what the server admits must fit in what the core may hold");
_Static_assert(RPC_RELAY_QUEUE_BYTES_MAX / 4 + RPC_MESSAGE_BYTES_MAX +
                       RPC_STREAM_MESSAGE_OVERHEAD_BYTES <=
                   RPC_RELAY_QUEUE_BYTES_MAX,
               "what may still come while a quarter waits must fit into a relay's queue");
_Static_assert(RPC_RELAY_DIAL_MS < RPC_RELAY_OPEN_MS,
               "a router gives up before the node that it has asked");
_Static_assert(RPC_STREAM_MERGE_COUNT_MAX <= RPC_FRAMES_PER_MESSAGE_MAX,
               "a merged message must be one that the peer accepts");
_Static_assert(RPC_STREAM_MERGE_BYTES_MAX / 7 <= RPC_PIPE_ELEMENTS_MAX,
               "no operation or call of a merged message takes less than seven bytes");
_Static_assert(RPC_STREAM_MERGE_BYTES_MAX <= RPC_MESSAGE_BYTES_MAX,
               "a merged message must be one that the peer accepts");

#endif
