/* Who may speak to whom, each side for itself: on a stream the two checks hide each other. */
#include <criterion/criterion.h>

#include "rpc/handshake.h"

static const struct rpc_identity self = {.cluster_id = 77, .node_id = 2};

static enum status check_caller(const struct rpc_identity *identity, struct rpc_handshake caller,
                                const char *first, const char *second) {
    struct buf error = {0};
    enum status status = rpc_handshake_check_caller(identity, &caller, &error);
    buf_append_byte(&error, '\0');
    cr_assert(!first || strstr((const char *)error.data, first), "%s", error.data);
    cr_assert(!second || strstr((const char *)error.data, second), "%s", error.data);
    buf_done(&error);
    return status;
}

static enum status check_server(struct rpc_handshake server, uint64_t to_node, const char *first,
                                const char *second) {
    struct buf error = {0};
    enum status status = rpc_handshake_check_server(&self, to_node, &server, &error);
    buf_append_byte(&error, '\0');
    cr_assert(!first || strstr((const char *)error.data, first), "%s", error.data);
    cr_assert(!second || strstr((const char *)error.data, second), "%s", error.data);
    buf_done(&error);
    return status;
}

/* Peers and routers of the same cluster pass. */
Test(rpc_handshake, takes_the_right_callers) {
    cr_assert_eq(
        check_caller(&self, (struct rpc_handshake){RPC_PROTOCOL_VERSION, 77, 1, 2}, NULL, NULL),
        STATUS_OK);
    cr_assert_eq(
        check_caller(&self, (struct rpc_handshake){RPC_PROTOCOL_VERSION, 77, 0, 0}, NULL, NULL),
        STATUS_OK);
}

/* Each difference is refused with both values. */
Test(rpc_handshake, refuses_each_wrong_caller_with_both_values) {
    cr_assert_eq(check_caller(&self, (struct rpc_handshake){0, 77, 1, 2}, "did not say", NULL),
                 STATUS_MISMATCH);
    cr_assert_eq(
        check_caller(&self, (struct rpc_handshake){9, 77, 1, 2}, "protocol 9", "this process 2"),
        STATUS_MISMATCH);
    cr_assert_eq(check_caller(&self, (struct rpc_handshake){RPC_PROTOCOL_VERSION, 78, 1, 2},
                              "to cluster 000000000000004e", "to cluster 000000000000004d"),
                 STATUS_MISMATCH);
    cr_assert_eq(check_caller(&self, (struct rpc_handshake){RPC_PROTOCOL_VERSION, 77, 1, 3},
                              "wants node 3", "is node 2"),
                 STATUS_MISMATCH);
    cr_assert_eq(check_caller(&self, (struct rpc_handshake){RPC_PROTOCOL_VERSION, 77, 2, 0},
                              "it is node 2", "data directory"),
                 STATUS_MISMATCH);
}

/* A process that knows no cluster yet cannot judge, and says so; a retry will find it wiser. */
Test(rpc_handshake, waits_for_its_own_cluster) {
    struct rpc_identity young = {0};
    cr_assert_eq(check_caller(&young, (struct rpc_handshake){RPC_PROTOCOL_VERSION, 77, 1, 0},
                              "placement", NULL),
                 STATUS_UNAVAILABLE);
}

/* The caller judges who answered, too. */
Test(rpc_handshake, refuses_each_wrong_server_with_both_values) {
    cr_assert_eq(
        check_server((struct rpc_handshake){RPC_PROTOCOL_VERSION, 77, 3, 0}, 3, NULL, NULL),
        STATUS_OK);
    cr_assert_eq(
        check_server((struct rpc_handshake){RPC_PROTOCOL_VERSION, 77, 3, 0}, 0, NULL, NULL),
        STATUS_OK);
    cr_assert_eq(check_server((struct rpc_handshake){9, 77, 3, 0}, 3, "protocol 9", "process 2"),
                 STATUS_MISMATCH);
    cr_assert_eq(check_server((struct rpc_handshake){RPC_PROTOCOL_VERSION, 78, 3, 0}, 3,
                              "cluster 000000000000004e", "cluster 000000000000004d"),
                 STATUS_MISMATCH);
    cr_assert_eq(check_server((struct rpc_handshake){RPC_PROTOCOL_VERSION, 77, 4, 0}, 3,
                              "node 3 is wanted", "node 4"),
                 STATUS_MISMATCH);
}
