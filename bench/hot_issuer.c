#include "bench/hot_issuer.h"

#include <inttypes.h>

#include "base/assert.h"
#include "bench/issuers.h"
#include "bench/limits.h"

#define HOTTEST 0u

void hot_issuer_init(struct hot_issuer *workload, const struct hot_issuer_config *config) {
    ASSERT_CMP(config->amount_min, <=, config->amount_max);
    *workload = (struct hot_issuer){.config = *config};
    prng_init(&workload->prng, config->seed);
    zipf_init(&workload->zipf, config->issuers, config->zipf_exponent);
    ledger_init(&workload->ledger, config->run, config->limit);
    if (config->hottest_limit) workload->ledger.hottest_limit = config->hottest_limit;
}

void hot_issuer_done(struct hot_issuer *workload) {
    ledger_done(&workload->ledger);
    buf_done(&workload->request_id);
    buf_done(&workload->exposure_key);
    buf_done(&workload->reservation_key);
    buf_done(&workload->amount);
}

static bool next(void *ctx, struct bench_op *op) {
    struct hot_issuer *workload = ctx;
    if (workload->ledger.count >= BENCH_LEDGER_ENTRIES_MAX) return false;
    uint32_t issuer = (uint32_t)zipf_next(&workload->zipf, &workload->prng);
    uint32_t amount = (uint32_t)prng_between(&workload->prng, workload->config.amount_min,
                                             workload->config.amount_max);
    op->subject = issuer;
    op->watched = issuer == HOTTEST;
    op->entry = ledger_add(&workload->ledger, issuer, amount);
    return true;
}

static void request(void *ctx, const struct bench_op *op, struct router_request *ret_request) {
    struct hot_issuer *workload = ctx;
    uint32_t issuer = (uint32_t)op->subject;
    uint32_t amount = workload->ledger.entries[op->entry].amount;
    const struct ledger *ledger = &workload->ledger;
    buf_clear(&workload->request_id);
    buf_clear(&workload->exposure_key);
    buf_clear(&workload->reservation_key);
    buf_clear(&workload->amount);
    buf_printf(&workload->request_id, "%016" PRIx64 "-%" PRIu64, workload->config.run, op->entry);
    issuer_append_exposure_key(&workload->exposure_key, issuer);
    issuer_append_reservation_key(&workload->reservation_key, issuer, workload->config.run,
                                  op->entry);
    buf_printf(&workload->amount, "%" PRIu32, amount);
    workload->ops[0] =
        (struct txn_op){.kind = TXN_OP_ADD,
                        .key = slice_from_buf(&workload->exposure_key),
                        .delta = amount,
                        .minimum = 0,
                        .maximum = issuer == HOTTEST ? ledger->hottest_limit : ledger->limit};
    workload->ops[1] = (struct txn_op){.kind = TXN_OP_INSERT,
                                       .key = slice_from_buf(&workload->reservation_key),
                                       .value = slice_from_buf(&workload->amount)};
    workload->command = (struct txn_command){
        .request_id = slice_from_buf(&workload->request_id), .op_count = 2, .ops = workload->ops};
    ret_request->op = ROUTER_WRITE;
    ret_request->command = &workload->command;
}

static bool judge(void *ctx, const struct bench_op *op, const struct router_reply *reply,
                  enum bench_outcome *ret_outcome, struct buf *error) {
    if (!reply->outcome) {
        buf_printf(error, "a write was answered without an outcome");
        return false;
    }
    switch (reply->outcome->result) {
    case TXN_DONE:
        *ret_outcome = BENCH_DONE;
        return true;
    case TXN_REFUSED_BOUND:
        *ret_outcome = BENCH_REFUSED;
        return true;
    default:
        /* A reservation that exists already, or a request id that means something else: the ids are
         * fresh, so the cluster has mixed something up. */
        buf_printf(error, "a fresh reservation was refused: %s",
                   txn_result_text(reply->outcome->result));
        return false;
    }
}

static void decided(void *ctx, const struct bench_op *op, enum bench_outcome outcome) {
    static const enum ledger_state states[] = {[BENCH_DONE] = LEDGER_ACKED,
                                               [BENCH_REFUSED] = LEDGER_REFUSED,
                                               [BENCH_NOT_DONE] = LEDGER_NOT_DONE,
                                               [BENCH_UNKNOWN] = LEDGER_UNKNOWN};
    struct hot_issuer *workload = ctx;
    ledger_decide(&workload->ledger, op->entry, states[outcome]);
}

struct bench_workload hot_issuer_workload(struct hot_issuer *workload) {
    return (struct bench_workload){
        .ctx = workload, .next = next, .request = request, .judge = judge, .decided = decided};
}
