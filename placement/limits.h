/* Bounds of the placement driver. What a caller hands in is checked against them and refused by
 * name. */
#ifndef FLOTILLA_PLACEMENT_LIMITS_H
#define FLOTILLA_PLACEMENT_LIMITS_H

#define PLACEMENT_MEMBERS_MAX 5u
#define PLACEMENT_REPLICAS_MAX 16u /* as RANGE_REPLICAS_MAX; rpc/ asserts that they agree */
#define PLACEMENT_NODES_MAX 4096u
#define PLACEMENT_INITIAL_RANGES_MAX 16384u
#define PLACEMENT_KEY_BYTES_MAX 4096u                  /* as TXN_KEY_BYTES_MAX */
#define PLACEMENT_SPLIT_KEYS_BYTES_MAX (1024u * 1024u) /* all split keys together */
#define PLACEMENT_ADDRESS_BYTES_MAX 256u               /* ADDRESS_BYTES_MAX */
#define PLACEMENT_VERSION_BYTES_MAX 64u

/* Reports that one heartbeat may carry, and ranges that the map may hold. */
#define PLACEMENT_REPORTS_MAX 262144u
#define PLACEMENT_RANGES_MAX 1048576u
/* Creations and wanted descriptors in one heartbeat's answer: the node asks again at once. */
#define PLACEMENT_CREATES_MAX 512u
#define PLACEMENT_WANTED_MAX 512u

/* One request for timestamps; requests that wait for the bound to be extended; registrations on
 * their way through the log. */
#define PLACEMENT_TIMESTAMPS_MAX 65536u
#define PLACEMENT_TIMESTAMP_QUEUE_MAX 4096u
#define PLACEMENT_WAITERS_MAX 1024u

/* How often what nodes have synced goes through the log, if a node does not stop meanwhile. */
#define PLACEMENT_NOTE_SYNCED_MS 10000u

/* Steps of the wall clock that are believed without a reason: what may be lost of the 24 hours for
 * which request ids are remembered. Clocks that differ by no more show the same time. */
#define PLACEMENT_CLOCK_STEP_MS 600000u

/* A command in the log, a state snapshot, a frame between members. */
#define PLACEMENT_COMMAND_BYTES_MAX (2u * 1024u * 1024u)
#define PLACEMENT_SNAPSHOT_BYTES_MAX (15u * 1024u * 1024u)

/* Applied entries kept for slow members, and how many go per turn once that is exceeded. */
#define PLACEMENT_LOG_ENTRIES_KEPT 1024u
#define PLACEMENT_COMPACT_ENTRIES_MAX 256u

_Static_assert(PLACEMENT_SPLIT_KEYS_BYTES_MAX < PLACEMENT_COMMAND_BYTES_MAX,
               "the settings with all split keys travel in one command");
_Static_assert(PLACEMENT_INITIAL_RANGES_MAX <= PLACEMENT_RANGES_MAX, "the map holds the birth");

#endif
