/* The object behind placement_client.h, shared by its files: members and registration
 * (placement_client.c), heartbeats (placement_heartbeat.c), timestamps (placement_oracle.c), range
 * map and status (placement_queries.c). */
#ifndef FLOTILLA_RPC_PLACEMENT_CLIENT_INTERNAL_H
#define FLOTILLA_RPC_PLACEMENT_CLIENT_INTERNAL_H

#include <pthread.h>

#include "base/hashmap.h"
#include "base/prng.h"
#include "placement/limits.h"
#include "rpc/client.h"
#include "rpc/placement_client.h"
#include "rpc/placement_messages.h"

#define PLACEMENT_CLIENT_BACKOFF_MIN_MS 20u
/* Workers of one store that may ask for timestamps (RANGE_WORKERS_MAX; asserted at each ask). */
#define PLACEMENT_CLIENT_WORKERS_MAX 64u
/* How long the same complaint is not repeated in the log. */
#define PLACEMENT_CLIENT_LOG_PAUSE_US (10u * 1000u * 1000u)

/* Doubling pauses with jitter, so that many clients do not come back at once. */
struct placement_backoff {
    uint32_t next_ms; /* 0: begins anew */
};

/* A heartbeat's view of one replica, as placement has it. */
struct placement_told {
    struct idmap_node by_id;
    uint64_t replica_id, term, applied_index;
    struct range_epoch epoch;
    bool leads, wanted; /* placement asked for the descriptor */
    uint64_t heard;     /* number of the walk that met it last */
};

struct placement_heartbeats {
    bool started, in_flight, again, left, fenced;
    struct placement_client_node node;
    char *data_directory;
    struct rpc_timer timer;
    struct rpc_task beat; /* placement_client_beat, from any thread */
    uint64_t next_us;     /* when the next regular one is due */
    uint64_t answered_us; /* when the last one was; 0: none was */
    uint64_t address_book_version;
    uint32_t leaders_told;   /* to notice changes between beats */
    uint32_t until_complete; /* partial heartbeats left before the next complete one */
    bool want_complete;
    uint64_t walks;
    uint64_t logged_us; /* last complaint; 0: nothing to complain about */
    struct idmap told;
    struct placement_backoff backoff;
    struct rpc_timer leave_timer;
    void (*leave_done)(void *ctx);
    void *leave_ctx;
};

/* One worker's request for timestamps. */
struct placement_ask {
    uint32_t count;  /* 0: none outstanding */
    uint64_t number; /* grows with each sending; answers to older ones are ignored */
};

struct placement_oracle {
    pthread_mutex_t mutex; /* guards asks, number and stream: workers ask directly */
    struct placement_ask asks[PLACEMENT_CLIENT_WORKERS_MAX];
    uint64_t number;
    struct rpc_stream *stream; /* NULL: down */
    struct rpc_timer timer;    /* reopens, or asks again after a refusal */
    struct placement_backoff backoff;
    struct arena arena; /* of incoming grants */
    bool started;
    uint64_t logged_us;
};

struct placement_client {
    struct rpc_loop *loop;
    struct rpc_client *members[PLACEMENT_MEMBERS_MAX];
    uint32_t member_count;
    uint32_t leader; /* where the last answer came from */
    uint32_t timeout_ms, backoff_ms_max;
    struct prng prng;
    bool closing;

    struct placement_identity identity;
    uint64_t incarnation, opened_sequence;
    char *advertise, *version;
    placement_registered_fn *registered;
    void *registered_ctx;
    struct rpc_timer register_timer;
    struct placement_backoff register_backoff;
    uint64_t register_logged_us, register_exists_us; /* when EXISTS was answered first; 0: not */

    struct placement_heartbeats heartbeats;
    struct placement_oracle oracle;
};

/* What a call's owner makes of an answer: DONE, or NEXT: ask the next member. */
enum placement_verdict { PLACEMENT_DONE, PLACEMENT_NEXT };

/* `status` is OK with a response, else the transport's error and its text. NEXT after the last
 * member makes no further call: `last` tells. Not called when the client is being freed. */
typedef enum placement_verdict placement_answer_fn(void *ctx, enum status status, struct slice text,
                                                   struct slice response, bool last);
/* `freed` instead of `answer` when the client is freed meanwhile; NULL: nothing to do. */
void placement_client_call(struct placement_client *client, const char *method,
                           const ProtobufCMessage *request, placement_answer_fn *answer,
                           void (*freed)(void *ctx), void *ctx);
/* Unpacks and reads the outcome. A response that cannot be read is CORRUPTION. Text borrows from
 * the arena or is static. */
enum status placement_client_read(struct arena *arena, const ProtobufCMessageDescriptor *type,
                                  struct slice bytes, size_t outcome_offset,
                                  ProtobufCMessage **ret_message, struct slice *ret_text);
bool placement_ask_elsewhere(enum status status); /* NOT_LEADER and its like */
uint64_t placement_backoff_us(struct placement_client *client, struct placement_backoff *backoff);

/* placement_heartbeat.c, placement_oracle.c */
void placement_heartbeats_init(struct placement_client *client);
void placement_heartbeats_done(struct placement_client *client);
void placement_oracle_init(struct placement_client *client);
void placement_oracle_start(struct placement_client *client); /* registered: knows the cluster */
void placement_oracle_done(struct placement_client *client);

#endif
