#include "storage/memory_table.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/memory.h"

/* A quarter of the nodes of a level are also on the next one: 12 levels serve 4^12 = 16 million
 * keys in logarithmic time, far more than a simulated node holds. */
#define HEIGHT_MAX 12u
#define HEIGHT_SEED 0x5ca1ab1e5eedULL
#define SAMPLED_LEVEL 2
#define SAMPLED_ONE_IN 16u

static uint8_t *node_key_bytes(const struct memory_node *node) {
    return (uint8_t *)&((struct memory_node *)node)->next[node->height];
}

static struct memory_node *node_new(struct slice key, uint8_t height) {
    size_t links = sizeof(struct memory_node *) * height;
    struct memory_node *node = memory_alloc(sizeof(*node) + links + key.len);
    memset(node, 0, sizeof(*node) + links);
    node->height = height;
    node->key_len = (uint32_t)key.len;
    if (key.len > 0) memcpy(node_key_bytes(node), key.data, key.len);
    return node;
}

static struct memory_version *version_new(struct slice value, bool deleted, uint64_t sequence) {
    struct memory_version *version = memory_alloc(sizeof(*version) + value.len);
    version->older = NULL;
    version->sequence = sequence;
    version->len = (uint32_t)value.len;
    version->deleted = deleted;
    if (value.len > 0) memcpy(version->data, value.data, value.len);
    return version;
}

static void versions_free(struct memory_version *version) {
    while (version) {
        struct memory_version *older = version->older;
        memory_free(version);
        version = older;
    }
}

void memory_table_init(struct memory_table *table) {
    *table = (struct memory_table){.head = node_new(SLICE_EMPTY, HEIGHT_MAX), .height = 1};
    table->head->previous = table->head;
    prng_init(&table->prng, HEIGHT_SEED);
}

void memory_table_done(struct memory_table *table) {
    struct memory_node *node = table->head;
    while (node) {
        struct memory_node *next = node->next[0];
        versions_free(node->newest);
        memory_free(node);
        node = next;
    }
    bytesmap_done(&table->by_key);
    *table = (struct memory_table){0};
}

/* The last node before `key` on each level up to the table's height; returns the one on level 0. */
static struct memory_node *find_before(const struct memory_table *table, struct slice key,
                                       struct memory_node *before[HEIGHT_MAX]) {
    struct memory_node *node = table->head;
    struct memory_node *compared = NULL; /* known to be at or after the key */
    for (int level = table->height - 1; level >= 0; level--) {
        for (;;) {
            struct memory_node *next = node->next[level];
            if (!next || next == compared) break;
            if (level > 0) __builtin_prefetch(node->next[level - 1]); /* nodes lie anywhere */
            if (slice_compare(memory_node_key(next), key) >= 0) {
                compared = next;
                break;
            }
            node = next;
        }
        if (before) before[level] = node;
    }
    return node;
}

static size_t count_versions(const struct memory_node *node) {
    size_t count = 0;
    for (const struct memory_version *version = node->newest; version; version = version->older)
        count++;
    return count;
}

static void mark_stale(struct memory_table *table, struct memory_node *node) {
    ASSERT(!node->stale);
    node->stale = true;
    node->stale_next = table->stale;
    table->stale = node;
    table->stale_versions += count_versions(node);
}

static void node_link(struct memory_table *table, struct memory_node *node,
                      struct memory_node *before[HEIGHT_MAX]) {
    for (uint8_t level = table->height; level < node->height; level++)
        before[level] = table->head;
    if (node->height > table->height) table->height = node->height;
    for (uint8_t level = 0; level < node->height; level++) {
        node->next[level] = before[level]->next[level];
        before[level]->next[level] = node;
    }
    node->previous = before[0];
    /* The head's `previous` is the last node. */
    (node->next[0] ? node->next[0] : table->head)->previous = node;
    bytesmap_put(&table->by_key, &node->by_key, memory_node_key(node));
    table->key_count++;
}

static void node_unlink_and_free(struct memory_table *table, struct memory_node *node) {
    struct memory_node *before[HEIGHT_MAX] = {0};
    ASSERT_CMP(node->height, <=, table->height);
    (void)find_before(table, memory_node_key(node), before); /* wanted: `before` */
    for (uint8_t level = 0; level < node->height; level++) {
        ASSERT(before[level] && before[level]->next[level] == node);
        before[level]->next[level] = node->next[level];
    }
    (node->next[0] ? node->next[0] : table->head)->previous = node->previous;
    (void)bytesmap_remove(&table->by_key, memory_node_key(node)); /* it is there: 4. */
    table->key_count--;
    versions_free(node->newest);
    memory_free(node);
}

static uint8_t random_height(struct memory_table *table) {
    uint64_t bits = prng_next(&table->prng);
    uint8_t height = 1;
    while (height < HEIGHT_MAX && (bits & 3) == 0) {
        height++;
        bits >>= 2;
    }
    return height;
}

static void node_push_version(struct memory_table *table, struct memory_node *node,
                              struct memory_version *version) {
    struct memory_version *newest = node->newest;
    if (newest) ASSERT_CMP(newest->sequence, <=, version->sequence);
    /* Even a key's only version is stale until it is below the horizon: rolling back may remove it.
     */
    if (newest && !node->stale) mark_stale(table, node);
    if (newest && newest->sequence == version->sequence) {
        version->older = newest->older;
        memory_free(newest);
        node->newest = version;
        return;
    }
    version->older = newest;
    node->newest = version;
    if (node->stale)
        table->stale_versions++;
    else
        mark_stale(table, node);
}

void memory_table_put(struct memory_table *table, struct slice key, struct slice value,
                      uint64_t sequence) {
    struct memory_node *node = memory_table_find(table, key);
    if (!node) {
        struct memory_node *before[HEIGHT_MAX];
        (void)find_before(table, key, before); /* wanted: `before` */
        node = node_new(key, random_height(table));
        node_link(table, node, before);
    }
    node_push_version(table, node, version_new(value, false, sequence));
}

static void node_delete(struct memory_table *table, struct memory_node *node, uint64_t sequence) {
    if (node->newest->deleted) return;
    node_push_version(table, node, version_new(SLICE_EMPTY, true, sequence));
}

void memory_table_delete(struct memory_table *table, struct slice key, uint64_t sequence) {
    struct memory_node *node = memory_table_find(table, key);
    if (node) node_delete(table, node, sequence);
}

void memory_table_delete_range(struct memory_table *table, struct slice begin, struct slice end,
                               uint64_t sequence) {
    struct memory_node *node = memory_table_first_from(table, begin);
    for (; node; node = node->next[0]) {
        if (end.len > 0 && slice_compare(memory_node_key(node), end) >= 0) break;
        node_delete(table, node, sequence);
    }
}

struct memory_node *memory_table_find(const struct memory_table *table, struct slice key) {
    struct bytesmap_node *found = bytesmap_get(&table->by_key, key);
    return found ? CONTAINER_OF(found, struct memory_node, by_key) : NULL;
}

struct memory_node *memory_table_first_from(const struct memory_table *table, struct slice key) {
    return find_before(table, key, NULL)->next[0];
}

struct memory_node *memory_table_last_before(const struct memory_table *table, struct slice key) {
    struct memory_node *node = find_before(table, key, NULL);
    return node == table->head ? NULL : node;
}

struct memory_node *memory_table_last(const struct memory_table *table) {
    struct memory_node *last = table->head->previous;
    return last == table->head ? NULL : last;
}

struct memory_node *memory_table_next(const struct memory_node *node) {
    return node->next[0];
}

struct memory_node *memory_table_previous(const struct memory_table *table,
                                          const struct memory_node *node) {
    return node->previous == table->head ? NULL : node->previous;
}

/* Of every `SAMPLED_ONE_IN`th node, about: those of the third level stand for all. */
uint64_t memory_table_approximate_bytes(const struct memory_table *table, struct slice begin,
                                        struct slice end) {
    struct memory_node *before[HEIGHT_MAX];
    uint64_t bytes = 0;
    if (table->height <= SAMPLED_LEVEL) return 0;
    (void)find_before(table, begin, before); /* wanted: `before` */
    const struct memory_node *node = before[SAMPLED_LEVEL]->next[SAMPLED_LEVEL];
    for (; node; node = node->next[SAMPLED_LEVEL]) {
        if (end.len > 0 && slice_compare(memory_node_key(node), end) >= 0) break;
        if (!node->newest->deleted) bytes += node->key_len + node->newest->len;
    }
    return bytes * SAMPLED_ONE_IN;
}

/* Takes every node off the stale list and lets `settle` decide: it changes the chain and returns
 * whether the node has to stay listed. A node without versions left is removed. */
static void settle_stale(struct memory_table *table,
                         bool (*settle)(struct memory_node *node, uint64_t sequence),
                         uint64_t sequence) {
    struct memory_node *node = table->stale;
    table->stale = NULL;
    table->stale_versions = 0;
    while (node) {
        struct memory_node *next = node->stale_next;
        node->stale = false;
        node->stale_next = NULL;
        bool stays = settle(node, sequence);
        if (!node->newest)
            node_unlink_and_free(table, node);
        else if (stays)
            mark_stale(table, node);
        node = next;
    }
}

/* Keeps what is above the horizon and the one version that a reader at the horizon sees. */
static bool settle_below_horizon(struct memory_node *node, uint64_t horizon) {
    struct memory_version **link = &node->newest;
    while (*link && (*link)->sequence > horizon)
        link = &(*link)->older;
    struct memory_version *seen = *link;
    if (seen) {
        versions_free(seen->older);
        seen->older = NULL;
        if (seen->deleted) {
            *link = NULL;
            memory_free(seen);
        }
    }
    return node->newest && node->newest->sequence > horizon;
}

void memory_table_prune(struct memory_table *table, uint64_t horizon) {
    settle_stale(table, settle_below_horizon, horizon);
}

static bool settle_above(struct memory_node *node, uint64_t sequence) {
    while (node->newest && node->newest->sequence > sequence) {
        struct memory_version *undone = node->newest;
        node->newest = undone->older;
        memory_free(undone);
    }
    return true; /* what is left may still be waiting for the horizon */
}

void memory_table_roll_back(struct memory_table *table, uint64_t sequence) {
    settle_stale(table, settle_above, sequence);
}

void memory_table_check(const struct memory_table *table) {
    size_t count = 0, stale = 0;
    const struct memory_node *previous = table->head;
    for (const struct memory_node *node = table->head->next[0]; node; node = node->next[0]) {
        memory_node_prefetch(node);
        ASSERT(node->previous == previous);
        if (previous != table->head)
            ASSERT(slice_compare(memory_node_key(previous), memory_node_key(node)) < 0);
        ASSERT(node->newest);
        for (const struct memory_version *v = node->newest; v->older; v = v->older)
            ASSERT_CMP(v->sequence, >, v->older->sequence);
        ASSERT(node->stale || (!node->newest->older && !node->newest->deleted));
        if (node->stale) stale += count_versions(node);
        count++;
        previous = node;
    }
    ASSERT(table->head->previous == previous);
    ASSERT_CMP(count, ==, table->key_count);
    ASSERT_CMP(count, ==, table->by_key.count);
    ASSERT_CMP(stale, ==, table->stale_versions);
    for (uint8_t level = 1; level < table->height; level++) {
        const struct memory_node *lower = table->head->next[level - 1];
        for (const struct memory_node *node = table->head->next[level]; node;
             node = node->next[level]) {
            while (lower && lower != node)
                lower = lower->next[level - 1];
            ASSERT(lower == node);
        }
    }
}
