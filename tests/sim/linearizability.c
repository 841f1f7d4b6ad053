/* The search walks the history in order of time and keeps every configuration that it may have come
 * to: which of the pending operations have taken effect, and the state they left. Nothing takes
 * effect before it must: a call only makes its operation pending, and at a return each
 * configuration in which that operation has not taken effect is continued by the pending ones,
 * in every order that the model allows, until it has (Lowe 2017, just-in-time linearization). When
 * no configuration comes past a return, no order explains the history. After a return of a read, a
 * write or a sum all that is left agrees on the state, so few configurations live at a time, and
 * the search costs what happens at once and not how long the history is.
 *
 * Operations of unknown outcome have no return and stay pending to the end: they are what makes a
 * history hard. Three rules, none of which gives up an answer, keep them from multiplying:
 *
 * - A read, or a write that was refused or guarded, takes effect as soon as the state agrees with
 * its answer: it changes nothing, so wherever an order has it later, it may be put here instead.
 * - One of unknown outcome that would change nothing is left alone: "never" explains as much.
 * - Of two configurations that differ only in that one has used more of the unknown operations,
 *   that one is dropped: whatever explains the rest from there explains it from the other. */
#include "tests/sim/linearizability.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/hashmap.h"
#include "base/list.h"
#include "base/memory.h"

/* Of each kind, pending at a time: a bit of a word each. */
#define PENDING_MAX 64u

struct event {
    uint64_t at;
    size_t op;
    bool is_call;
};

/* What two configurations must share to be compared; the bytes are a key, so there is no padding.
 */
struct place {
    uint64_t effective; /* bit i: the operation in slot i has taken effect */
    uint64_t present;
    int64_t number; /* 0 when absent */
};

struct configuration {
    struct bytesmap_node node;     /* by place, of the first one there */
    struct configuration *sibling; /* the next one at that place */
    struct configuration *next;    /* in a row */
    struct place place;
    uint64_t used; /* bit i: unknown operation i has taken effect */
    bool dropped;  /* another one explains as much */
};

struct row {
    struct configuration *first, **last;
};

struct search {
    const struct register_op *ops;
    size_t configurations_max, visited;
    const struct register_op *slots[PENDING_MAX]; /* called and not returned; NULL: free */
    uint32_t slot_count;                          /* those behind are free */
    const struct register_op *unknown[PENDING_MAX];
    uint32_t unknown_count;
    /* Past the last return that was looked at. */
    struct row frontier;
    struct arena arena; /* the frontier's memory */
    /* While a return is looked at: every configuration met, and those to be continued. */
    struct bytesmap met;
    struct row queue;
    struct arena met_arena;
};

const char *register_op_name(enum register_op_kind kind) {
    static const char *const names[] = {"get", "put", "delete", "insert", "add", "look"};
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

static bool guard_holds(const struct register_op *op, struct register_state state) {
    switch (op->guard) {
    case REGISTER_UNGUARDED:
        return true;
    case REGISTER_IF_PRESENT:
        return state.present;
    case REGISTER_IF_ABSENT:
        return !state.present;
    case REGISTER_IF_STATE:
        return same_state(state, op->guard_state);
    }
    return false;
}

/* Whether the operation may take effect in this state with the answer that was seen; then *state is
 * the state after it. */
static bool step(const struct register_op *op, struct register_state *state) {
    bool unknown = op->answer == REGISTER_UNKNOWN, done = op->answer == REGISTER_DONE;
    int64_t sum = 0;
    bool holds = guard_holds(op, *state);
    if (op->answer == REGISTER_GUARDED) return !holds;
    if (!holds) return unknown;
    switch (op->kind) {
    case REGISTER_GET:
        return unknown || same_state(*state, op->seen);
    case REGISTER_LOOK:
        return unknown || state->present == op->seen.present;
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

/* ---- events ---- */

static int compare_events(const void *a, const void *b) {
    uint64_t left = ((const struct event *)a)->at, right = ((const struct event *)b)->at;
    return left < right ? -1 : left > right;
}

/* In order of time. A read that was never answered says nothing. */
static size_t list_events(const struct register_op *ops, size_t count, struct event *events) {
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        const struct register_op *op = &ops[i];
        bool unknown = op->answer == REGISTER_UNKNOWN;
        if (unknown && (op->kind == REGISTER_GET || op->kind == REGISTER_LOOK)) continue;
        events[used++] = (struct event){.at = op->called, .op = i, .is_call = true};
        if (unknown) continue;
        ASSERT_CMP(op->called, <, op->returned);
        events[used++] = (struct event){.at = op->returned, .op = i};
    }
    qsort(events, used, sizeof(*events), compare_events);
    for (size_t i = 1; i < used; i++)
        ASSERT_CMP(events[i - 1].at, <, events[i].at);
    return used;
}

/* False: too many are pending. */
static bool call(struct search *search, const struct register_op *op) {
    if (op->answer == REGISTER_UNKNOWN) {
        if (search->unknown_count == PENDING_MAX) return false;
        search->unknown[search->unknown_count++] = op;
        return true;
    }
    uint32_t slot = 0;
    while (slot < search->slot_count && search->slots[slot])
        slot++;
    if (slot == PENDING_MAX) return false;
    if (slot == search->slot_count) search->slot_count++;
    search->slots[slot] = op;
    return true;
}

/* ---- configurations ---- */

static void row_init(struct row *row) {
    row->first = NULL;
    row->last = &row->first;
}

static void row_push(struct row *row, struct configuration *configuration) {
    configuration->next = NULL;
    *row->last = configuration;
    row->last = &configuration->next;
}

static struct register_state state_at(const struct place *place) {
    return (struct register_state){place->present != 0, place->number};
}

static void set_state(struct place *place, struct register_state state) {
    place->present = state.present;
    place->number = state.present ? state.number : 0;
}

static bool has(uint64_t bits, uint32_t at) {
    return (bits >> at & 1) != 0;
}

static bool only_observes(const struct register_op *op) {
    return op->kind == REGISTER_GET || op->kind == REGISTER_LOOK ||
           op->answer == REGISTER_REFUSED || op->answer == REGISTER_GUARDED;
}

/* Every pending observation that is true here takes effect. */
static void settle(const struct search *search, struct place *place) {
    struct register_state state = state_at(place);
    for (uint32_t i = 0; i < search->slot_count; i++) {
        const struct register_op *op = search->slots[i];
        if (op && !has(place->effective, i) && only_observes(op) && step(op, &state))
            place->effective |= UINT64_C(1) << i;
    }
}

/* A configuration that the search has come to: to be continued, unless one like it explains as
 * much. */
static void visit(struct search *search, struct place place, uint64_t used) {
    settle(search, &place);
    struct slice key = slice_make(&place, sizeof(place));
    struct bytesmap_node *found = bytesmap_get(&search->met, key);
    struct configuration *first = found ? CONTAINER_OF(found, struct configuration, node) : NULL;
    for (struct configuration *other = first; other; other = other->sibling) {
        if ((other->used & ~used) == 0) return;
        if ((used & ~other->used) == 0) other->dropped = true;
    }
    struct configuration *fresh = arena_alloc(&search->met_arena, sizeof(*fresh));
    *fresh = (struct configuration){.place = place, .used = used};
    if (first) {
        fresh->sibling = first->sibling;
        first->sibling = fresh;
    } else {
        bytesmap_put(&search->met, &fresh->node, slice_make(&fresh->place, sizeof(place)));
    }
    row_push(&search->queue, fresh);
    search->visited++;
}

/* Lets each pending operation be the next to take effect. */
static void visit_next(struct search *search, const struct configuration *from) {
    struct register_state state = state_at(&from->place);
    for (uint32_t i = 0; i < search->slot_count; i++) {
        struct register_state after = state;
        struct place place = from->place;
        if (!search->slots[i] || has(place.effective, i) || !step(search->slots[i], &after))
            continue;
        place.effective |= UINT64_C(1) << i;
        set_state(&place, after);
        visit(search, place, from->used);
    }
    for (uint32_t i = 0; i < search->unknown_count; i++) {
        struct register_state after = state;
        struct place place = from->place;
        if (has(from->used, i) || !step(search->unknown[i], &after) || same_state(after, state))
            continue;
        set_state(&place, after);
        visit(search, place, from->used | UINT64_C(1) << i);
    }
}

/* ---- the search ---- */

static uint32_t slot_of(const struct search *search, const struct register_op *op) {
    uint32_t at = 0;
    while (search->slots[at] != op)
        at++;
    return at;
}

/* The configurations that were met with this operation in effect are the frontier now. */
static void advance(struct search *search, const struct row *survivors, uint32_t slot) {
    arena_reset(&search->arena);
    row_init(&search->frontier);
    for (const struct configuration *at = survivors->first; at; at = at->next) {
        if (at->dropped) continue;
        struct configuration *copy = arena_alloc(&search->arena, sizeof(*copy));
        *copy = (struct configuration){.place = at->place, .used = at->used};
        copy->place.effective &= ~(UINT64_C(1) << slot);
        row_push(&search->frontier, copy);
    }
    bytesmap_clear(&search->met);
    arena_reset(&search->met_arena);
    search->slots[slot] = NULL;
}

static enum linearizability pass_return(struct search *search, const struct register_op *op) {
    uint32_t slot = slot_of(search, op);
    struct row survivors;
    row_init(&survivors);
    row_init(&search->queue);
    for (const struct configuration *at = search->frontier.first; at; at = at->next)
        visit(search, at->place, at->used);
    while (search->queue.first) {
        struct configuration *at = search->queue.first;
        search->queue.first = at->next;
        if (!at->next) row_init(&search->queue);
        if (at->dropped) continue;
        if (has(at->place.effective, slot))
            row_push(&survivors, at);
        else
            visit_next(search, at);
        if (search->visited > search->configurations_max) return LINEARIZABILITY_UNDECIDED;
    }
    advance(search, &survivors, slot);
    return search->frontier.first ? LINEARIZABLE : NOT_LINEARIZABLE;
}

static enum linearizability run(struct search *search, const struct event *events, size_t count,
                                size_t *ret_culprit) {
    for (size_t i = 0; i < count; i++) {
        const struct register_op *op = &search->ops[events[i].op];
        if (events[i].is_call) {
            if (!call(search, op)) return LINEARIZABILITY_UNDECIDED;
            continue;
        }
        enum linearizability verdict = pass_return(search, op);
        if (verdict == NOT_LINEARIZABLE && ret_culprit) *ret_culprit = events[i].op;
        if (verdict != LINEARIZABLE) return verdict;
    }
    return LINEARIZABLE;
}

enum linearizability linearizability_check(const struct register_op *ops, size_t count,
                                           size_t configurations_max, size_t *ret_culprit) {
    struct search search = {.ops = ops, .configurations_max = configurations_max};
    struct configuration beginning = {0};
    struct event *events = memory_alloc((2 * count + 1) * sizeof(*events));
    size_t used = list_events(ops, count, events);
    arena_init(&search.arena, 0);
    arena_init(&search.met_arena, 0);
    row_init(&search.frontier);
    row_push(&search.frontier, &beginning);
    enum linearizability verdict = run(&search, events, used, ret_culprit);
    bytesmap_done(&search.met);
    arena_done(&search.arena);
    arena_done(&search.met_arena);
    memory_free(events);
    return verdict;
}
