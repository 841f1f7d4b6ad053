/* A stand-in for one etcd member: keys in memory, on the test's own loop, with what may go wrong on
 * request. Nothing but what the client of the comparing benchmark asks for. */
#ifndef FLOTILLA_TESTS_RPC_ETCD_FAKE_H
#define FLOTILLA_TESTS_RPC_ETCD_FAKE_H

#include "base/arena.h"
#include "rpc/server.h"

#define ETCD_FAKE_KEYS_MAX 32

struct etcd_fake_entry {
    struct buf key, value;
    int64_t create_revision, mod_revision;
};

struct etcd_fake {
    struct rpc_server *server;
    char address[64];
    struct etcd_fake_entry entries[ETCD_FAKE_KEYS_MAX];
    size_t count;
    int64_t revision;
    uint32_t ranges, puts, transactions; /* seen so far */
    bool last_serializable;              /* of the last Range */
    /* Before a transaction is looked at, somebody else adds 1000 to its counter. */
    uint32_t rivals;
    uint32_t answers_lost;     /* writes that are done and answered UNAVAILABLE */
    enum rpc_code refuse_code; /* of everything, when not OK: nothing is done */
    const char *refuse_text;
    struct arena arena;
};

void etcd_fake_start(struct etcd_fake *fake, struct rpc_loop *loop);
void etcd_fake_stop(struct etcd_fake *fake);
void etcd_fake_put(struct etcd_fake *fake, struct slice key, struct slice value);
/* Empty when absent. */
struct slice etcd_fake_value(const struct etcd_fake *fake, const char *key);

#endif
