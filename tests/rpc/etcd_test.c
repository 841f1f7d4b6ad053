/* The client of etcd's API in front of a stand-in: what it sends, what it makes of the answers, and
 * that an optimistic update counts once whatever happens to its answers. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "rpc/etcd/client.h"
#include "rpc/etcd/messages.h"
#include "tests/rpc/etcd_fake.h"

#define WAIT_US 10000000u
#define NO_BOUND INT64_MAX

static struct rpc_loop *loop;
static struct etcd_fake fake;
static struct etcd_client *client;

struct heard {
    bool done;
    uint32_t times;
    enum router_code code;
    char text[200];
    bool has_outcome;
    struct txn_outcome outcome;
    int64_t number;
    uint32_t row_count;
    bool more;
    char keys[64], values[64]; /* of all rows, with a blank after each */
    uint64_t version;          /* of the first row */
};

static void connect_client(bool remembers) {
    struct etcd_client_config config = {.addresses = fake.address,
                                        .remembers = remembers,
                                        .default_timeout_us = WAIT_US / 2,
                                        .outstanding_max = 4};
    client = etcd_client_new(loop, &config);
}

static void set_up(void) {
    loop = rpc_loop_new();
    etcd_fake_start(&fake, loop);
    client = NULL;
}

static void tear_down(void) {
    etcd_client_free(client);
    etcd_fake_stop(&fake);
    rpc_loop_free(loop);
}

TestSuite(rpc_etcd, .init = set_up, .fini = tear_down, .timeout = 60);

static void append(char *to, size_t size, struct slice bytes) {
    size_t len = strlen(to);
    (void)snprintf(to + len, size - len, "%.*s ", (int)bytes.len, (const char *)bytes.data);
}

static void on_reply(void *ctx, const struct router_reply *reply) {
    struct heard *heard = ctx;
    heard->done = true;
    heard->times++;
    heard->code = reply->code;
    (void)snprintf(heard->text, sizeof(heard->text), "%.*s", (int)reply->text.len,
                   (const char *)reply->text.data);
    if (reply->outcome) {
        heard->has_outcome = true;
        heard->outcome = *reply->outcome;
        if (reply->outcome->number_count > 0) heard->number = reply->outcome->numbers[0];
    }
    heard->row_count = reply->row_count;
    heard->more = reply->more;
    for (uint32_t i = 0; i < reply->row_count; i++) {
        append(heard->keys, sizeof(heard->keys), reply->rows[i].key);
        append(heard->values, sizeof(heard->values), reply->rows[i].value);
        if (i == 0) heard->version = reply->rows[i].version;
    }
}

static struct heard ask(uint32_t caller, const struct router_request *request) {
    struct heard heard = {0};
    etcd_client_submit(client, caller, request, on_reply, &heard);
    cr_assert(rpc_loop_run_until(loop, &heard.done, WAIT_US), "no answer");
    cr_assert_eq(heard.times, 1);
    return heard;
}

static struct heard write_ops(uint32_t caller, struct txn_op *ops, uint32_t count) {
    struct txn_command command = {.op_count = count, .ops = ops};
    return ask(caller, &(struct router_request){.op = ROUTER_WRITE, .command = &command});
}

static struct heard put(const char *key, const char *value) {
    struct txn_op op = {
        .kind = TXN_OP_PUT, .key = slice_from_text(key), .value = slice_from_text(value)};
    return write_ops(0, &op, 1);
}

static struct heard reserve(uint32_t caller, int64_t delta, int64_t maximum, const char *record) {
    struct txn_op ops[2] = {
        {.kind = TXN_OP_ADD,
         .key = SLICE_LITERAL("exposure"),
         .delta = delta,
         .minimum = 0,
         .maximum = maximum},
        {.kind = TXN_OP_INSERT, .key = slice_from_text(record), .value = SLICE_LITERAL("yes")}};
    return write_ops(caller, ops, 2);
}

static struct heard get(const char *key) {
    struct slice slice = slice_from_text(key);
    return ask(0, &(struct router_request){.op = ROUTER_GET, .key_count = 1, .keys = &slice});
}

static void expect_value(const char *key, const char *value) {
    struct slice found = etcd_fake_value(&fake, key);
    cr_expect(slice_equal(found, slice_from_text(value)), "%s is '%.*s', not '%s'", key,
              (int)found.len, (const char *)found.data, value);
}

/* ---- bytes: the numbers of the fields are those of etcd's public API, not of our proto ---- */

static void expect_bytes(const ProtobufCMessage *message, const uint8_t *bytes, size_t len) {
    uint8_t packed[256];
    cr_assert_leq(protobuf_c_message_get_packed_size(message), sizeof(packed));
    size_t packed_len = protobuf_c_message_pack(message, packed);
    cr_assert_eq(packed_len, len, "%zu bytes, not %zu", packed_len, len);
    for (size_t i = 0; i < len; i++)
        cr_expect_eq(packed[i], bytes[i], "byte %zu: %02x, not %02x", i, packed[i], bytes[i]);
}

/* A put: key = 1, value = 2. */
Test(rpc_etcd_messages, a_put_is_what_the_public_api_says) {
    static const uint8_t bytes[] = {0x0a, 1, 'k', 0x12, 2, 'v', 'w'};
    struct txn_op op = {
        .kind = TXN_OP_PUT, .key = SLICE_LITERAL("k"), .value = SLICE_LITERAL("vw")};
    struct txn_command command = {.op_count = 1, .ops = &op};
    Etcdserverpb__PutRequest request;
    cr_assert(etcd_put_of(&command, &request));
    expect_bytes(&request.base, bytes, sizeof(bytes));
}

/* A read: key = 1, range_end = 2, limit = 3, serializable = 7, keys_only = 8. An open end is one
 * zero byte. */
Test(rpc_etcd_messages, a_range_is_what_the_public_api_says) {
    static const uint8_t single[] = {0x0a, 1, 'k', 0x38, 1};
    static const uint8_t interval[] = {0x0a, 1, 'a', 0x12, 1, 0, 0x18, 7, 0x40, 1};
    struct slice key = SLICE_LITERAL("k");
    Etcdserverpb__RangeRequest range;
    struct router_request one = {
        .op = ROUTER_GET, .key_count = 1, .keys = &key, .read_mode = RANGE_READ_STALE};
    cr_assert(etcd_range_of(&one, &range));
    expect_bytes(&range.base, single, sizeof(single));
    struct router_request many = {
        .op = ROUTER_SCAN, .start = SLICE_LITERAL("a"), .row_limit = 7, .keys_only = true};
    cr_assert(etcd_range_of(&many, &range));
    expect_bytes(&range.base, interval, sizeof(interval));
    many.reverse = true;
    cr_expect(!etcd_range_of(&many, &range));
    one.key_count = 2;
    cr_expect(!etcd_range_of(&one, &range));
}

/* compare = 1 {target = 2 (MOD = 2, CREATE = 1), key = 3, create_revision = 5 or mod_revision = 6},
 * success = 2 and failure = 3 {request_range = 1 or request_put = 2}. A create revision of 0 must
 * be on the wire: left out, the server would compare nothing. */
Test(rpc_etcd_messages, a_transaction_is_what_the_public_api_says) {
    static const uint8_t bytes[] = {
        0x0a, 7, 0x10, 2, 0x1a, 1, 'c', 0x30, 9,           /* mod_revision(c) == 9 */
        0x0a, 7, 0x10, 1, 0x1a, 1, 'r', 0x28, 0,           /* create_revision(r) == 0 */
        0x12, 9, 0x12, 7, 0x0a, 1, 'c', 0x12, 2, '4', '5', /* put c = 45 */
        0x12, 8, 0x12, 6, 0x0a, 1, 'r', 0x12, 1, 'y',      /* put r = y */
        0x1a, 7, 0x0a, 5, 0x0a, 1, 'r', 0x48, 1,           /* count r */
        0x1a, 5, 0x0a, 3, 0x0a, 1, 'c'                     /* read c */
    };
    struct txn_op ops[2] = {
        {.kind = TXN_OP_ADD, .key = SLICE_LITERAL("c"), .delta = 3, .maximum = 100},
        {.kind = TXN_OP_INSERT, .key = SLICE_LITERAL("r"), .value = SLICE_LITERAL("y")}};
    struct txn_command command = {.op_count = 2, .ops = ops};
    struct etcd_counter counter = {.number = 42, .revision = 9};
    struct etcd_update update = {0};
    struct etcd_transaction transaction;
    cr_assert(etcd_update_of(&command, &update));
    etcd_transaction_init(&transaction, &update, counter, true);
    expect_bytes(&transaction.request.base, bytes, sizeof(bytes));
    etcd_transaction_init(&transaction, &update, counter, false);
    expect_bytes(&transaction.request.base, bytes, sizeof(bytes) - 7);
    etcd_update_done(&update);
}

/* What the client cannot express must be told, never sent as something else. */
Test(rpc_etcd_messages, other_commands_are_neither_puts_nor_updates) {
    struct txn_guard guard = {.kind = TXN_GUARD_EXISTS, .key = SLICE_LITERAL("k")};
    struct txn_op ops[2] = {{.kind = TXN_OP_PUT, .key = SLICE_LITERAL("k")},
                            {.kind = TXN_OP_PUT, .key = SLICE_LITERAL("l")}};
    struct txn_command guarded = {.guard_count = 1, .guards = &guard, .op_count = 1, .ops = ops};
    struct txn_command pair = {.op_count = 2, .ops = ops};
    Etcdserverpb__PutRequest put_request;
    struct etcd_update update = {0};
    cr_expect(!etcd_put_of(&guarded, &put_request));
    cr_expect(!etcd_put_of(&pair, &put_request));
    cr_expect(!etcd_update_of(&pair, &update));
}

/* ---- puts and reads ---- */

/* A value that was put is read back with the revision it was told. */
Test(rpc_etcd, puts_and_gets) {
    connect_client(false);
    struct heard written = put("k", "v");
    cr_assert_eq(written.code, ROUTER_OK, "%s", written.text);
    cr_expect(written.has_outcome && written.outcome.result == TXN_DONE);
    struct heard read = get("k");
    cr_assert_eq(read.code, ROUTER_OK, "%s", read.text);
    cr_expect_str_eq(read.values, "v ");
    cr_expect_eq(read.version, written.outcome.commit_ts);
    cr_expect(!fake.last_serializable);
    struct heard absent = get("none");
    cr_expect_eq(absent.row_count, 1);
    cr_expect_eq(absent.version, 0);
}

/* The reads that are compared with stale ones must say so to the server. */
Test(rpc_etcd, stale_reads_are_serializable) {
    connect_client(false);
    struct slice key = SLICE_LITERAL("k");
    (void)ask(0,
              &(struct router_request){
                  .op = ROUTER_GET, .key_count = 1, .keys = &key, .read_mode = RANGE_READ_STALE});
    cr_expect(fake.last_serializable);
}

/* Pages: in order, up to the limit, and told when there is more. */
Test(rpc_etcd, scans_in_pages) {
    connect_client(false);
    static const char *const keys[] = {"b", "a", "d", "c"};
    for (size_t i = 0; i < 4; i++)
        (void)put(keys[i], "v");
    struct heard page = ask(
        0, &(struct router_request){.op = ROUTER_SCAN, .end = SLICE_LITERAL("d"), .row_limit = 2});
    cr_expect_str_eq(page.keys, "a b ");
    cr_expect(page.more);
    page = ask(0, &(struct router_request){.op = ROUTER_SCAN, .start = SLICE_LITERAL("c")});
    cr_expect_str_eq(page.keys, "c d ");
    cr_expect(!page.more);
}

/* A put whose answer is lost may have been done; only "too many requests" is known not to be. */
Test(rpc_etcd, failed_puts_are_unknown) {
    connect_client(false);
    fake.answers_lost = 1;
    cr_expect_eq(put("k", "v").code, ROUTER_UNKNOWN);
    fake.refuse_code = RPC_RESOURCE_EXHAUSTED;
    fake.refuse_text = "etcdserver: too many requests";
    cr_expect_eq(put("k", "v").code, ROUTER_BUSY);
    fake.refuse_text = "etcdserver: mvcc: database space exceeded";
    cr_expect_eq(put("k", "v").code, ROUTER_INVALID);
    fake.refuse_code = RPC_INTERNAL;
    cr_expect_eq(put("k", "v").code, ROUTER_UNKNOWN);
    cr_expect_eq(get("k").code, ROUTER_UNAVAILABLE);
}

/* Nothing answers at the first address: the next one serves. */
Test(rpc_etcd, another_member_serves_when_the_first_is_gone) {
    char addresses[128];
    (void)snprintf(addresses, sizeof(addresses), "127.0.0.1:1,%s", fake.address);
    struct etcd_client_config config = {.addresses = addresses, .outstanding_max = 1};
    client = etcd_client_new(loop, &config);
    cr_expect_eq(put("k", "v").code, ROUTER_OK);
}

/* ---- updates ---- */

/* The plain way: read, then a transaction. */
Test(rpc_etcd, an_update_reads_and_transacts) {
    connect_client(false);
    struct heard first = reserve(0, 7, 100, "r1");
    cr_assert_eq(first.code, ROUTER_OK, "%s", first.text);
    cr_expect_eq(first.outcome.result, TXN_DONE);
    cr_expect_eq(first.number, 7);
    cr_expect_eq(reserve(0, 5, 100, "r2").number, 12);
    expect_value("exposure", "12");
    expect_value("r1", "yes");
    expect_value("r2", "yes");
    cr_expect_eq(fake.ranges, 2);
    cr_expect_eq(fake.transactions, 2);
    cr_expect_eq(etcd_client_conflicts(client), 0);
}

/* When others are faster, again, until it holds; none of theirs is lost. */
static void check_conflicts(bool remembers, uint32_t ranges) {
    connect_client(remembers);
    fake.rivals = 3;
    struct heard heard = reserve(0, 7, NO_BOUND, "r1");
    cr_assert_eq(heard.code, ROUTER_OK, "%s", heard.text);
    cr_expect_eq(heard.number, 3007);
    expect_value("exposure", "3007");
    cr_expect_eq(fake.transactions, 4);
    cr_expect_eq(fake.ranges, ranges);
    cr_expect_eq(etcd_client_conflicts(client), 3);
}

Test(rpc_etcd, conflicts_are_retried_after_a_fresh_read) {
    check_conflicts(false, 4);
}

Test(rpc_etcd, a_failed_transaction_tells_what_the_next_one_needs) {
    check_conflicts(true, 1);
}

/* Each caller knows its own last update, and nobody else's: it reads before its first only. */
Test(rpc_etcd, callers_remember_their_own_updates) {
    connect_client(true);
    (void)reserve(1, 1, NO_BOUND, "r1");
    (void)reserve(1, 1, NO_BOUND, "r2");
    cr_expect_eq(fake.ranges, 1);
    (void)reserve(2, 1, NO_BOUND, "r3");
    cr_expect_eq(fake.ranges, 2);
    cr_expect_eq(fake.transactions, 3);
    cr_expect_eq(reserve(1, 1, NO_BOUND, "r4").number, 4); /* what 1 knows is old by now */
    cr_expect_eq(etcd_client_conflicts(client), 1);
    expect_value("exposure", "4");
}

/* An answer was lost after the update was done: asked again, it is done once. */
static void check_lost_answer(bool remembers) {
    connect_client(remembers);
    fake.answers_lost = 1;
    cr_expect_eq(reserve(0, 7, 100, "r1").code, ROUTER_UNKNOWN);
    struct heard again = reserve(0, 7, 100, "r1");
    cr_expect_eq(again.code, ROUTER_OK);
    cr_expect_eq(again.outcome.result, TXN_DONE);
    cr_expect(again.outcome.replayed);
    expect_value("exposure", "7");
}

Test(rpc_etcd, a_repeated_update_counts_once) {
    check_lost_answer(false);
}

Test(rpc_etcd, a_repeated_remembered_update_counts_once) {
    check_lost_answer(true);
}

/* The same where the first attempt used the bound up: done, and no refusal. */
Test(rpc_etcd, a_repeated_update_at_the_bound_is_no_refusal) {
    connect_client(true);
    fake.answers_lost = 1;
    cr_expect_eq(reserve(0, 60, 100, "r1").code, ROUTER_UNKNOWN);
    cr_expect_eq(reserve(0, 60, 100, "r1").outcome.result, TXN_DONE);
    expect_value("exposure", "60");
}

/* A refusal rests on a fresh read: what the caller remembered is over the bound, what is there now
 * is not. */
Test(rpc_etcd, the_bound_refuses_by_what_is_there_now) {
    connect_client(true);
    (void)reserve(0, 90, 100, "r1");
    struct heard refused = reserve(0, 20, 100, "r2");
    cr_expect_eq(refused.code, ROUTER_OK);
    cr_expect_eq(refused.outcome.result, TXN_REFUSED_BOUND);
    cr_expect_eq(refused.outcome.number, 90);
    expect_value("exposure", "90");
    expect_value("r2", "");
    etcd_fake_put(&fake, SLICE_LITERAL("exposure"), SLICE_LITERAL("10"));
    cr_expect_eq(reserve(0, 20, 100, "r3").outcome.result, TXN_DONE);
    expect_value("exposure", "30");
}

/* ---- bounds ---- */

/* Closing answers what is under way, once. */
Test(rpc_etcd, closing_answers_everybody) {
    struct heard heard = {0};
    struct txn_op op = {.kind = TXN_OP_PUT, .key = SLICE_LITERAL("k")};
    struct txn_command command = {.op_count = 1, .ops = &op};
    struct router_request request = {.op = ROUTER_WRITE, .command = &command};
    connect_client(false);
    etcd_client_submit(client, 0, &request, on_reply, &heard);
    etcd_client_free(client);
    client = NULL;
    cr_expect_eq(heard.times, 1);
    cr_expect_eq(heard.code, ROUTER_UNKNOWN);
}

/* More than was agreed is refused at once, and what is not in the API, too. */
Test(rpc_etcd, refuses_too_many_and_the_unsupported) {
    struct heard heard[5] = {0};
    struct txn_op op = {.kind = TXN_OP_DELETE, .key = SLICE_LITERAL("k")};
    connect_client(false);
    cr_expect_eq(write_ops(0, &op, 1).code, ROUTER_INVALID);
    op.kind = TXN_OP_PUT;
    struct txn_command command = {.op_count = 1, .ops = &op};
    struct router_request request = {.op = ROUTER_WRITE, .command = &command};
    for (int i = 0; i < 5; i++)
        etcd_client_submit(client, 0, &request, on_reply, &heard[i]);
    cr_expect(heard[4].done);
    cr_expect_eq(heard[4].code, ROUTER_BUSY);
    for (int i = 0; i < 4; i++)
        cr_assert(rpc_loop_run_until(loop, &heard[i].done, WAIT_US));
}
