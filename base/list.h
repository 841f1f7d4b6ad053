/* Intrusive doubly linked list. A head is a node that points at itself. */
#ifndef FLOTILLA_BASE_LIST_H
#define FLOTILLA_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_node {
    struct list_node *next, *prev;
};

#define CONTAINER_OF(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline void list_init(struct list_node *head) {
    head->next = head->prev = head;
}

static inline bool list_empty(const struct list_node *head) {
    return head->next == head;
}

static inline void list_insert_before(struct list_node *at, struct list_node *node) {
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}

static inline void list_push_back(struct list_node *head, struct list_node *node) {
    list_insert_before(head, node);
}

static inline void list_push_front(struct list_node *head, struct list_node *node) {
    list_insert_before(head->next, node);
}

/* Leaves `node` as an empty list of its own, so removing twice is harmless. */
static inline void list_remove(struct list_node *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

static inline struct list_node *list_pop_front(struct list_node *head) {
    struct list_node *node = head->next;
    if (node == head) return NULL;
    list_remove(node);
    return node;
}

#define LIST_FOR_EACH(node, head) \
    for (struct list_node *node = (head)->next; node != (head); node = node->next)
/* The body may remove `node`. */
#define LIST_FOR_EACH_SAFE(node, head)                                                     \
    for (struct list_node *node = (head)->next, *node##_next = node->next; node != (head); \
         node = node##_next, node##_next = node->next)

#endif
