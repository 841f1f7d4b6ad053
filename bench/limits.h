/* Bounds of the load generator: what one run may hold in memory. */
#ifndef FLOTILLA_BENCH_LIMITS_H
#define FLOTILLA_BENCH_LIMITS_H

#define BENCH_CLIENTS_MAX 4096u
#define BENCH_IN_FLIGHT_MAX 65536u /* clients times requests in flight per client */
#define BENCH_ISSUERS_MAX 1000000u
#define BENCH_KEYS_MAX 100000000u
#define BENCH_LEDGER_ENTRIES_MAX 50000000u /* 12 bytes each; a run stops issuing when full */
#define BENCH_DETAILS_MAX 20u              /* findings that a verdict spells out */
#define BENCH_SCAN_ROWS 5000u              /* per page of the verification */

/* `bench raft`: entries proposed together, how many such rows, and the size of an entry. */
#define BENCH_RAFT_BATCH_MAX 4096u
#define BENCH_RAFT_BATCHES_MAX 16u
#define BENCH_RAFT_PAYLOAD_BYTES_MAX 16384u

/* Pauses before a request is sent again: doubled, with jitter. */
#define BENCH_BACKOFF_MIN_US 2000u
#define BENCH_BACKOFF_MAX_US 100000u
/* The same after "busy": whoever is refused for want of room makes room by staying away. */
#define BENCH_BUSY_BACKOFF_MAX_US 2000000u
/* An open loop that sheds: an arrival that no client is free for within this is dropped. */
#define BENCH_SHED_US 20000u

#endif
