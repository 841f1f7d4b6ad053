/* Between the router's requests and replies and the messages of etcd's API. Pure: bytes in, bytes
 * out. What is made here lives in the arena or borrows from its source. */
#ifndef FLOTILLA_RPC_ETCD_MESSAGES_H
#define FLOTILLA_RPC_ETCD_MESSAGES_H

#include "etcd/kv.pb-c.h"
#include "range/router/router.h"
#include "rpc/message.h"

#define ETCD_RANGE "/etcdserverpb.KV/Range"
#define ETCD_PUT "/etcdserverpb.KV/Put"
#define ETCD_TXN "/etcdserverpb.KV/Txn"

/* An addition to a counter together with the insert of a record, both or none. */
struct etcd_update {
    struct buf counter_key, record_key, record_value;
    int64_t delta, minimum, maximum;
};

/* A counter as some revision of the store had it; absent: 0 at revision 0. */
struct etcd_counter {
    int64_t number;
    int64_t revision; /* of its last change */
};

/* ---- requests ---- */
/* False: not one put without guards. */
bool etcd_put_of(const struct txn_command *command, Etcdserverpb__PutRequest *ret_put);
/* False: not an addition followed by an insert, without guards. Copies; `ret_update` may hold
 * buffers of an earlier one. */
bool etcd_update_of(const struct txn_command *command, struct etcd_update *ret_update);
void etcd_update_done(struct etcd_update *update);
/* False: something that Range does not do (several keys, backwards). A stale read is a serializable
 * one: from the asked member's own state, however old. */
bool etcd_range_of(const struct router_request *request, Etcdserverpb__RangeRequest *ret_range);

/* The transaction that makes the counter's next value, if nobody has changed it since that revision
 * and the record does not exist. When it fails it tells whether the record exists and, with
 * `learns`, what the counter is. */
struct etcd_transaction {
    Etcdserverpb__TxnRequest request;
    Etcdserverpb__Compare unchanged, absent;
    Etcdserverpb__RequestOp ops[4];
    Etcdserverpb__PutRequest put_counter, put_record;
    Etcdserverpb__RangeRequest range_record, range_counter;
    Etcdserverpb__Compare *compares[2];
    Etcdserverpb__RequestOp *on_success[2], *on_failure[2];
    char number[24];
};
/* Borrows from `update`. The object must not move afterwards. */
void etcd_transaction_init(struct etcd_transaction *transaction, const struct etcd_update *update,
                           struct etcd_counter counter, bool learns);

enum etcd_step {
    ETCD_STEP_GO,   /* the sum is in `ret_sum` */
    ETCD_STEP_BOUND /* it would leave the bounds, or 64 bits */
};
enum etcd_step etcd_update_step(const struct etcd_update *update, int64_t number, int64_t *ret_sum);

/* ---- responses ---- */
/* Of a Range over the counter's key alone. INVALID: the value is not a whole number. */
enum status etcd_counter_read(const Etcdserverpb__RangeResponse *response,
                              struct etcd_counter *ret_counter) MUST_CHECK;
/* Of a failed transaction. CORRUPTION: not the answer to what was asked. */
enum status etcd_transaction_read(const Etcdserverpb__TxnResponse *response, bool learns,
                                  bool *ret_record_exists,
                                  struct etcd_counter *ret_counter) MUST_CHECK;
/* One row per key for GET (version 0: absent), as they come for SCAN. */
void etcd_rows_read(struct arena *arena, enum router_op op,
                    const Etcdserverpb__RangeResponse *response, struct router_reply *ret_reply);

#endif
