/* The search walks a list of events, calls and returns in order of time. It tries to let the first
 * pending call take effect: if the model allows its answer, call and return leave the list and the
 * walk starts over at the front. At the return of an operation that has not taken effect, the last
 * choice is undone (its events return to their places) and the next pending call is tried. A pair
 * (set of operations that have taken effect, state) that was reached before cannot succeed now:
 * that memory is what makes the search fast enough (Lowe 2017).
 *
 * An operation of unknown outcome has no return, so nothing forces it to take effect; done is when
 * no return is left in the list. */
#include "tests/sim/linearizability.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hashmap.h"
#include "base/list.h"
#include "base/memory.h"

struct event {
    struct event *next, *prev;
    struct event *matching; /* of a call: its return; NULL: none, or this is a return */
    uint64_t at;
    size_t op;
    bool is_call;
};

/* What was reached before. */
struct configuration {
    struct bytesmap_node node; /* by bits ‖ state */
    uint8_t bytes[];
};

struct choice {
    struct event *call;
    struct register_state before;
};

struct search {
    const struct register_op *ops;
    size_t count;
    struct event *events; /* two per operation; a return's slot may be unused */
    struct event head;
    size_t returns_left;
    struct register_state state;
    uint8_t *bits; /* operations that took effect, then the state: a configuration's bytes */
    size_t bits_len, bytes_len;
    struct bytesmap seen;
    struct choice *choices;
    size_t choice_count;
    struct event *furthest; /* the latest return that stopped the walk */
};

const char *register_op_name(enum register_op_kind kind) {
    static const char *const names[] = {"get", "put", "delete", "insert", "add"};
    return names[kind];
}

/* ---- the model ---- */

static bool same_state(struct register_state a, struct register_state b) {
    return a.present == b.present && (!a.present || a.number == b.number);
}

static bool add_fits(const struct register_op *op, struct register_state state, int64_t *ret_sum) {
    int64_t held = state.present ? state.number : 0;
    if (__builtin_add_overflow(held, op->argument, ret_sum)) return false;
    return *ret_sum >= op->minimum && *ret_sum <= op->maximum;
}

/* Whether the operation may take effect in this state with the answer that was seen; then *state is
 * the state after it. */
static bool step(const struct register_op *op, struct register_state *state) {
    bool unknown = op->answer == REGISTER_UNKNOWN, done = op->answer == REGISTER_DONE;
    int64_t sum = 0;
    switch (op->kind) {
    case REGISTER_GET:
        return unknown || same_state(*state, op->seen);
    case REGISTER_PUT:
        *state = (struct register_state){true, op->argument};
        return true;
    case REGISTER_DELETE:
        *state = (struct register_state){0};
        return true;
    case REGISTER_INSERT:
        if (!unknown && done == state->present) return false;
        if (!state->present) *state = (struct register_state){true, op->argument};
        return true;
    case REGISTER_ADD:
        if (!add_fits(op, *state, &sum)) {
            int64_t held = state->present ? state->number : 0;
            return unknown || (!done && held == op->seen.number);
        }
        if (!unknown && (!done || sum != op->seen.number)) return false;
        *state = (struct register_state){true, sum};
        return true;
    }
    return false;
}

/* ---- the list of events ---- */

static int compare_events(const void *a, const void *b) {
    uint64_t left = (*(struct event *const *)a)->at, right = (*(struct event *const *)b)->at;
    return left < right ? -1 : left > right;
}

static void link_events(struct search *search) {
    size_t used = 0;
    struct event **sorted = memory_alloc((2 * search->count + 1) * sizeof(struct event *));
    for (size_t i = 0; i < search->count; i++) {
        const struct register_op *op = &search->ops[i];
        struct event *call = &search->events[2 * i], *back = call + 1;
        *call = (struct event){.at = op->called, .op = i, .is_call = true};
        sorted[used++] = call;
        if (op->answer == REGISTER_UNKNOWN) continue;
        ASSERT_CMP(op->called, <, op->returned);
        *back = (struct event){.at = op->returned, .op = i};
        call->matching = back;
        sorted[used++] = back;
        search->returns_left++;
    }
    qsort(sorted, used, sizeof(*sorted), compare_events);
    struct event *last = &search->head;
    for (size_t i = 0; i < used; i++) {
        if (i > 0) ASSERT_CMP(sorted[i - 1]->at, <, sorted[i]->at);
        last->next = sorted[i];
        sorted[i]->prev = last;
        last = sorted[i];
    }
    memory_free(sorted);
}

static void unlink_event(struct event *event) {
    event->prev->next = event->next;
    if (event->next) event->next->prev = event->prev;
}

static void relink_event(struct event *event) {
    event->prev->next = event;
    if (event->next) event->next->prev = event;
}

static void lift(struct search *search, struct event *call) {
    unlink_event(call);
    if (!call->matching) return;
    unlink_event(call->matching);
    search->returns_left--;
}

/* In the opposite order: each event finds its neighbours as they were. */
static void unlift(struct search *search, struct event *call) {
    if (call->matching) {
        relink_event(call->matching);
        search->returns_left++;
    }
    relink_event(call);
}

/* ---- the memory ---- */

static void flip_bit(struct search *search, size_t op) {
    search->bits[op / 8] ^= (uint8_t)(1u << op % 8);
}

/* False when this set of operations was reached with this state before. */
static bool remember(struct search *search, struct register_state state) {
    int64_t number = state.present ? state.number : 0;
    search->bits[search->bits_len] = state.present;
    memcpy(search->bits + search->bits_len + 1, &number, sizeof(number));
    if (bytesmap_get(&search->seen, slice_make(search->bits, search->bytes_len))) return false;
    struct configuration *fresh = memory_zalloc(sizeof(*fresh) + search->bytes_len);
    memcpy(fresh->bytes, search->bits, search->bytes_len);
    bytesmap_put(&search->seen, &fresh->node, slice_make(fresh->bytes, search->bytes_len));
    return true;
}

static void forget_all(struct search *search) {
    struct bytesmap_node *node = bytesmap_next(&search->seen, NULL);
    while (node) {
        struct bytesmap_node *next = bytesmap_next(&search->seen, node);
        memory_free(CONTAINER_OF(node, struct configuration, node));
        node = next;
    }
    bytesmap_done(&search->seen);
}

/* ---- the search ---- */

/* Lets the call take effect, if the model and the memory agree. */
static bool try_call(struct search *search, struct event *call) {
    struct register_state after = search->state;
    if (!step(&search->ops[call->op], &after)) return false;
    flip_bit(search, call->op);
    if (!remember(search, after)) {
        flip_bit(search, call->op);
        return false;
    }
    search->choices[search->choice_count++] = (struct choice){call, search->state};
    search->state = after;
    lift(search, call);
    return true;
}

/* Undoes the last choice; returns where to go on, or NULL when there is none to undo. */
static struct event *backtrack(struct search *search) {
    if (search->choice_count == 0) return NULL;
    struct choice *last = &search->choices[--search->choice_count];
    search->state = last->before;
    flip_bit(search, last->call->op);
    unlift(search, last->call);
    return last->call->next;
}

static enum linearizability run(struct search *search, size_t configurations_max) {
    struct event *at = search->head.next;
    while (search->returns_left > 0) {
        /* A return is in the list, so the walk meets it before the end. */
        if (at->is_call) {
            at = try_call(search, at) ? search->head.next : at->next;
            if (search->seen.count > configurations_max) return LINEARIZABILITY_UNDECIDED;
            continue;
        }
        if (!search->furthest || search->furthest->at < at->at) search->furthest = at;
        at = backtrack(search);
        if (!at) return NOT_LINEARIZABLE;
    }
    return LINEARIZABLE;
}

enum linearizability linearizability_check(const struct register_op *ops, size_t count,
                                           size_t configurations_max, size_t *ret_culprit) {
    struct search search = {.ops = ops, .count = count};
    search.bits_len = count / 8 + 1;
    search.bytes_len = search.bits_len + 1 + sizeof(int64_t);
    search.bits = memory_zalloc(search.bytes_len);
    search.events = memory_zalloc((2 * count + 1) * sizeof(struct event));
    search.choices = memory_zalloc((count + 1) * sizeof(struct choice));
    link_events(&search);
    enum linearizability verdict = run(&search, configurations_max);
    if (verdict == NOT_LINEARIZABLE && ret_culprit) *ret_culprit = search.furthest->op;
    forget_all(&search);
    memory_free(search.bits);
    memory_free(search.events);
    memory_free(search.choices);
    return verdict;
}
