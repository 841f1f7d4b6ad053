/* List, heap and hash maps against plain models under random operations. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

#include "base/hashmap.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/memory.h"
#include "base/prng.h"

struct member {
    struct list_node node;
    int value;
};

static int value_of(struct list_node *node) {
    return CONTAINER_OF(node, struct member, node)->value;
}

/* Protects first-in-first-out order and insertion at both ends. */
Test(base_list, keeps_the_order_of_insertion) {
    struct list_node head;
    struct member members[3] = {{.value = 1}, {.value = 2}, {.value = 3}};
    list_init(&head);
    cr_assert(list_empty(&head));
    cr_assert_null(list_pop_front(&head));
    list_push_back(&head, &members[1].node);
    list_push_back(&head, &members[2].node);
    list_push_front(&head, &members[0].node);
    int expected = 1;
    LIST_FOR_EACH (node, &head)
        cr_assert_eq(value_of(node), expected++);
    cr_assert_eq(expected, 4);
    cr_assert_eq(value_of(list_pop_front(&head)), 1);
    cr_assert_eq(value_of(head.prev), 3);
}

/* Protects loops that remove what they look at, and removing twice. */
Test(base_list, survives_removal_during_iteration) {
    struct list_node head;
    struct member members[10];
    list_init(&head);
    for (int i = 0; i < 10; i++) {
        members[i].value = i;
        list_push_back(&head, &members[i].node);
    }
    LIST_FOR_EACH_SAFE (node, &head) {
        if (value_of(node) % 2 == 0) list_remove(node);
    }
    list_remove(&members[0].node);
    int expected = 1;
    LIST_FOR_EACH (node, &head) {
        cr_assert_eq(value_of(node), expected);
        expected += 2;
    }
    cr_assert_eq(expected, 11);
}

#define HEAP_NODES 300

static uint64_t model_minimum(const struct heap_node *nodes, size_t *ret_count) {
    uint64_t minimum = UINT64_MAX;
    *ret_count = 0;
    for (int i = 0; i < HEAP_NODES; i++) {
        if (nodes[i].slot == 0) continue;
        (*ret_count)++;
        if (nodes[i].key < minimum) minimum = nodes[i].key;
    }
    return minimum;
}

static void check_heap_order(const struct heap *heap) {
    for (size_t slot = 1; slot <= heap->count; slot++) {
        cr_assert_eq(heap->entries[slot - 1].node->slot, slot);
        if (slot > 1)
            cr_assert_leq(heap->entries[(slot + 2) / 4 - 1].key, heap->entries[slot - 1].key);
    }
}

/* Protects deadlines: the minimum is right after any mix of pushes, pops and removals. */
Test(base_heap, minimum_matches_a_model) {
    struct prng prng;
    prng_init(&prng, 3);
    struct heap heap = {0};
    struct heap_node nodes[HEAP_NODES] = {0};
    for (int round = 0; round < 20000; round++) {
        struct heap_node *node = &nodes[prng_below(&prng, HEAP_NODES)];
        size_t count;
        if (node->slot == 0) {
            heap_push(&heap, node, prng_below(&prng, 1000));
        } else if (prng_below(&prng, 3) == 0) {
            uint64_t minimum = model_minimum(nodes, &count);
            struct heap_node *popped = heap_pop(&heap);
            cr_assert_eq(popped->key, minimum);
            cr_assert_eq(popped->slot, 0);
        } else {
            heap_remove(&heap, node);
            cr_assert_eq(node->slot, 0);
            heap_remove(&heap, node); /* no effect when not in */
        }
        uint64_t minimum = model_minimum(nodes, &count);
        cr_assert_eq(heap.count, count);
        if (count > 0) cr_assert_eq(heap_min(&heap)->key, minimum);
        if (round % 16 == 0) check_heap_order(&heap);
    }
    while (heap_pop(&heap)) {
    }
    cr_assert_null(heap_min(&heap));
    heap_done(&heap);
}

/* Protects against a node that is in two places. */
Test(base_heap, refuses_to_push_a_node_twice, .signal = SIGABRT) {
    struct heap heap = {0};
    struct heap_node node = {0};
    heap_push(&heap, &node, 1);
    heap_push(&heap, &node, 2);
}

#define MAP_NODES 2000

/* Protects lookups through growth and removal; ids are dense, as real ones are. */
Test(base_hashmap, ids_match_a_model_through_growth) {
    struct prng prng;
    prng_init(&prng, 5);
    struct idmap map = {0};
    static struct idmap_node nodes[MAP_NODES];
    static bool present[MAP_NODES];
    size_t count = 0;
    cr_assert_null(idmap_get(&map, 0));
    cr_assert_null(idmap_remove(&map, 0));
    for (int round = 0; round < 50000; round++) {
        uint64_t id = prng_below(&prng, MAP_NODES);
        cr_assert_eq(idmap_get(&map, id), present[id] ? &nodes[id] : NULL);
        if (!present[id]) {
            idmap_put(&map, &nodes[id], id);
            present[id] = true;
            count++;
        } else if (prng_below(&prng, 2) == 0) {
            cr_assert_eq(idmap_remove(&map, id), &nodes[id]);
            cr_assert_null(idmap_remove(&map, id));
            present[id] = false;
            count--;
        }
        cr_assert_eq(map.count, count);
    }
    size_t seen = 0;
    for (struct idmap_node *node = idmap_next(&map, NULL); node; node = idmap_next(&map, node)) {
        cr_assert(present[node->id]);
        present[node->id] = false; /* each once */
        seen++;
    }
    cr_assert_eq(seen, count);
    idmap_done(&map);
}

/* Protects speed: chains must stay short for ids in sequence and for ids with equal low bits. */
Test(base_hashmap, ids_spread_over_the_buckets) {
    for (unsigned shift = 0; shift <= 48; shift += 16) {
        struct idmap map = {0};
        struct idmap_node *nodes = memory_zalloc(MAP_NODES * sizeof(*nodes));
        for (uint64_t i = 0; i < MAP_NODES; i++)
            idmap_put(&map, &nodes[i], i << shift);
        cr_assert_geq(map.bucket_count, MAP_NODES);
        for (size_t i = 0; i < map.bucket_count; i++) {
            int length = 0;
            for (struct idmap_node *node = map.buckets[i]; node; node = node->next)
                length++;
            cr_assert_leq(length, 12);
        }
        idmap_done(&map);
        memory_free(nodes);
    }
}

/* Protects determinism: the same history gives the same order of iteration. */
Test(base_hashmap, iteration_order_depends_on_history_only) {
    struct idmap maps[2] = {0};
    static struct idmap_node nodes[2][MAP_NODES];
    for (uint64_t i = 0; i < MAP_NODES; i++) {
        for (int m = 0; m < 2; m++)
            idmap_put(&maps[m], &nodes[m][i], i * i);
    }
    struct idmap_node *a = NULL, *b = NULL;
    while ((a = idmap_next(&maps[0], a))) {
        b = idmap_next(&maps[1], b);
        cr_assert_eq(a->id, b->id);
    }
    idmap_done(&maps[0]);
    idmap_done(&maps[1]);
}

/* Protects against losing the node that was there. */
Test(base_hashmap, refuses_an_id_that_is_present, .signal = SIGABRT) {
    struct idmap map = {0};
    struct idmap_node nodes[2];
    idmap_put(&map, &nodes[0], 9);
    idmap_put(&map, &nodes[1], 9);
}

struct named {
    struct bytesmap_node node;
    char name[16];
    bool present;
};

/* Protects lookups by bytes: growth, removal, keys that are prefixes of each other, the empty key.
 */
Test(base_hashmap, bytes_match_a_model_through_growth) {
    struct prng prng;
    prng_init(&prng, 6);
    struct bytesmap map = {0};
    static struct named all[MAP_NODES];
    for (int i = 0; i < MAP_NODES; i++) {
        if (i > 0) cr_assert_lt(snprintf(all[i].name, sizeof(all[i].name), "k%d", i), 16);
    }
    cr_assert_null(bytesmap_get(&map, SLICE_EMPTY));
    size_t count = 0;
    for (int round = 0; round < 50000; round++) {
        struct named *one = &all[prng_below(&prng, MAP_NODES)];
        struct slice key = slice_from_text(one->name);
        cr_assert_eq(bytesmap_get(&map, key), one->present ? &one->node : NULL);
        if (!one->present) {
            bytesmap_put(&map, &one->node, key);
            count++;
            one->present = true;
        } else if (prng_below(&prng, 2) == 0) {
            cr_assert_eq(bytesmap_remove(&map, key), &one->node);
            cr_assert_null(bytesmap_remove(&map, key));
            count--;
            one->present = false;
        }
    }
    size_t seen = 0;
    for (struct bytesmap_node *node = bytesmap_next(&map, NULL); node;
         node = bytesmap_next(&map, node)) {
        cr_assert(CONTAINER_OF(node, struct named, node)->present);
        seen++;
    }
    cr_assert_eq(seen, count);
    cr_assert_eq(map.count, count);
    bytesmap_clear(&map);
    cr_assert_eq(map.count, 0);
    cr_assert_null(bytesmap_get(&map, slice_from_text("k1")));
    cr_assert_null(bytesmap_next(&map, NULL));
    bytesmap_put(&map, &all[1].node, slice_from_text(all[1].name));
    cr_assert_eq(bytesmap_get(&map, slice_from_text("k1")), &all[1].node);
    bytesmap_done(&map);
}
