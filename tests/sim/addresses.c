/* Where nodes are to be found. A process listens at one address; nodes and routers know of each
 * other what placement has told them (a book), and of two nodes the one with the lower id dials, as
 * in rpc/node_peers.c. Who dials where nobody listens, or somebody else does, has no connection:
 * the handshake names the node that is meant.
 *
 * A node that moves comes back at an address of which only placement hears, perhaps one where
 * another node was before. */
#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/rules.h"

#define ADDRESSES (SIM_NODES_MAX + 2u)

static bool is_taken(const struct sim *sim, const struct sim_node *by, uint32_t address) {
    for (uint32_t i = 0; i < sim->config.nodes; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (node != by && node->host.up && node->address == address) return true;
    }
    return false;
}

void sim_address_take(struct sim_node *node) {
    struct sim *sim = node->host.sim;
    if (node->address == 0) node->address = node->host.number;
    if (!node->moves && !is_taken(sim, node, node->address)) return;
    uint32_t old = node->address;
    while (node->address == old || is_taken(sim, node, node->address))
        node->address = (uint32_t)prng_between(&sim->prng, 1, ADDRESSES);
    node->moves = false;
    sim->life.moves++;
    sim_note(sim, "node %u: is at address %u from now on", node->host.number, node->address);
}

void sim_address_text(uint32_t address, char *text, size_t size) {
    (void)snprintf(text, size, "10.0.0.%u:7101", address);
}

uint32_t sim_address_parse(struct slice text) {
    unsigned address = 0;
    char copy[32] = {0};
    ASSERT_CMP(text.len, <, sizeof(copy));
    memcpy(copy, text.data, text.len);
    int read = sscanf(copy, "10.0.0.%u:7101", &address);
    ASSERT(read == 1 && address > 0 && address <= ADDRESSES);
    return address;
}

/* ---- books ---- */

/* By node id; ids are given in order, one for each. */
static uint32_t *entry(struct sim_book *book, uint64_t node_id) {
    ASSERT(node_id > 0 && node_id <= SIM_NODES_MAX);
    return &book->addresses[node_id - 1];
}

static bool has_right(const struct sim_book *book, const struct sim_node *node) {
    return node->host.up && node->node_id > 0 &&
           node->address == book->addresses[node->node_id - 1];
}

bool sim_router_reaches(const struct sim_router *router, const struct sim_node *node) {
    return has_right(&router->book, node);
}

bool sim_node_reaches(const struct sim_node *from, const struct sim_node *to) {
    return has_right(&from->book, to);
}

bool sim_nodes_connected(const struct sim_node *a, const struct sim_node *b) {
    const struct sim_node *dials = a->node_id < b->node_id ? a : b;
    const struct sim_node *listens = dials == a ? b : a;
    return has_right(&dials->book, listens);
}

void sim_book_learn(struct sim_book *book, const struct sim_body *body) {
    for (uint32_t i = 0; i < body->address_count; i++)
        *entry(book, body->lists->addresses[i].node_id) = body->lists->addresses[i].address;
    book->version = body->book_version;
}

void sim_book_tell(struct sim_body *body, const struct placement_node_address *nodes,
                   uint32_t count) {
    ASSERT_CMP(count, <=, SIM_NODES_MAX);
    body->address_count = count;
    for (uint32_t i = 0; i < count; i++)
        body->lists->addresses[i] =
            (struct sim_address){nodes[i].node_id, sim_address_parse(nodes[i].address)};
}

/* ---- what placement tells ----
 *
 * Only who leads under a lease does, so that it knows every registration that was answered, and
 * perhaps one that was not. */

void sim_rules_registers(struct sim *sim, const struct sim_node *node, uint32_t address) {
    sim->rules->registering[node->host.number - 1] |= UINT32_C(1) << address;
}

void sim_rules_registered(struct sim *sim, const struct sim_node *node, uint64_t node_id,
                          uint32_t address) {
    *entry(&sim->rules->registered, node_id) = address;
    sim->rules->registering[node->host.number - 1] = 0;
}

static bool is_registering(struct sim *sim, uint64_t node_id, uint32_t address) {
    const struct sim_node *node = sim_node_by_id(sim, node_id);
    return node && (sim->rules->registering[node->host.number - 1] >> address & 1);
}

void sim_rules_book(struct sim *sim, const struct sim_book *book) {
    for (uint32_t i = 0; i < SIM_NODES_MAX; i++) {
        uint32_t known = sim->rules->registered.addresses[i], told = book->addresses[i];
        if (known != 0 && told != known && !is_registering(sim, i + 1, told))
            sim_broken(sim, "placement tells where every node has registered last",
                       "node id %u, which is at address %u: %u", i + 1, known, told);
    }
}

void sim_rules_addresses(struct sim *sim, const struct sim_body *body) {
    struct sim_book book = {0};
    sim_book_learn(&book, body);
    sim_rules_book(sim, &book);
}
