/* What clients demand of registers before they change one, and whether the answers were right.
 *
 * A guard on the register that is changed is part of the register's history: the checker of
 * linearizability judges it. UNCHANGED names a version, of several registers perhaps, and what was
 * deleted has no value to be known by; so it is judged by the versions of all writes, at the end:
 * where it held, nobody wrote between its version and the write's own; where it did not, somebody
 * did. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/clients.h"
#include "txn/limits.h"

/* ---- choosing ---- */

/* About what is thought to be there, from what clients were told last. */
static void guard_register(struct sim *sim, struct operation *operation) {
    struct register_op *op = client_record(sim->clients, operation, 0);
    const struct history *history = &sim->clients->histories[operation->registers[0]];
    const struct register_state *known = &history->newest_state;
    struct client_guard *guard = &operation->guards[operation->guard_count++];
    *guard = (struct client_guard){
        .kind = (enum txn_guard_kind)prng_between(&sim->prng, TXN_GUARD_EXISTS, TXN_GUARD_VERSION),
        .version = known->present ? history->newest_ts : 0};
    switch (guard->kind) {
    case TXN_GUARD_EXISTS:
        op->guard = REGISTER_IF_PRESENT;
        break;
    case TXN_GUARD_ABSENT:
        op->guard = REGISTER_IF_ABSENT;
        break;
    case TXN_GUARD_EQUALS:
        op->guard = REGISTER_IF_STATE;
        op->guard_state =
            (struct register_state){true, known->present ? known->number : op->argument};
        break;
    case TXN_GUARD_VERSION:
    case TXN_GUARD_UNCHANGED:
        op->guard = REGISTER_IF_STATE;
        op->guard_state = *known;
        break;
    }
}

/* Since the newest change that is known of any of them, or of the one that was left alone longest.
 */
static void guard_versions(struct sim *sim, struct operation *operation) {
    const struct sim_clients *clients = sim->clients;
    uint32_t group = operation->registers[0] / REGISTERS_PER_GROUP * REGISTERS_PER_GROUP;
    uint32_t a = (uint32_t)prng_below(&sim->prng, REGISTERS_PER_GROUP);
    uint32_t b = (uint32_t)prng_below(&sim->prng, REGISTERS_PER_GROUP);
    struct client_guard *guard = &operation->guards[operation->guard_count++];
    *guard = (struct client_guard){.kind = TXN_GUARD_UNCHANGED,
                                   .by_versions = true,
                                   .first = group + (a < b ? a : b),
                                   .last = group + (a < b ? b : a)};
    guard->interval = guard->first < guard->last || sim_chance(sim, 300);
    bool since_oldest = sim_chance(sim, 150);
    guard->version = since_oldest ? UINT64_MAX : 0;
    for (uint32_t i = guard->first; i <= guard->last; i++) {
        uint64_t newest = clients->histories[i].newest_ts;
        if (since_oldest ? newest < guard->version : newest > guard->version)
            guard->version = newest;
    }
}

void client_guards_choose(struct client *client) {
    struct sim *sim = client->sim;
    uint64_t dice = prng_below(&sim->prng, 100);
    if (dice < 10) guard_versions(sim, &client->operation);
    if (dice < 30) guard_register(sim, &client->operation);
    if (dice >= 27 && dice < 37) guard_versions(sim, &client->operation);
}

uint32_t client_guards_fill(const struct client *client, struct client_guard_texts *texts,
                            struct txn_guard *guards) {
    const struct operation *operation = &client->operation;
    const struct register_op *op = client_record(client->sim->clients, operation, 0);
    for (uint32_t i = 0; i < operation->guard_count; i++) {
        const struct client_guard *guard = &operation->guards[i];
        uint32_t first = guard->by_versions ? guard->first : operation->registers[0];
        client_register_key(texts->keys[i], sizeof(texts->keys[i]), first);
        guards[i] = (struct txn_guard){
            .kind = guard->kind, .key = slice_from_text(texts->keys[i]), .version = guard->version};
        if (guard->interval) {
            char last[48];
            client_register_key(last, sizeof(last), guard->last);
            (void)snprintf(texts->ends[i], sizeof(texts->ends[i]), "%s~", last);
            guards[i].end = slice_from_text(texts->ends[i]);
        }
        if (guard->kind == TXN_GUARD_EQUALS)
            guards[i].value =
                slice_make(texts->number, txn_number_format(op->guard_state.number, texts->number));
    }
    return operation->guard_count;
}

/* ---- work ---- */

/* What the command takes, in steps (txn/limits.h): of the keys in an interval only those count that
 * were ever written, up to the first that was changed. Values are short. */
void client_guards_check_work(struct client *client, enum txn_result result) {
    const struct operation *operation = &client->operation;
    uint64_t max = client->sim->config.command_steps_max;
    uint64_t least = operation->kind == OPERATION_CHANGE ? 1 : 2, most;
    if (max == 0) max = TXN_COMMAND_STEPS_MAX;
    if (operation->kind == OPERATION_CANCEL) least++; /* its guard */
    least += operation->guard_count;
    most = least;
    for (uint32_t i = 0; i < operation->guard_count; i++) {
        const struct client_guard *guard = &operation->guards[i];
        if (!guard->interval) continue;
        most += TXN_INTERVAL_STEPS + guard->last - guard->first + 1;
        if (result == TXN_DONE) least += TXN_INTERVAL_STEPS;
    }
    if (result == TXN_REFUSED_WORK ? most <= max : least > max)
        sim_broken(client->sim, "a command takes no more steps than it may, and may take those",
                   "client %u: %s, %" PRIu64 " to %" PRIu64 " steps of %" PRIu64, client->number,
                   txn_result_text(result), least, most, max);
}

/* ---- judging ---- */

void client_guards_note(struct client *client, const struct client_guard *guard,
                        const struct txn_outcome *outcome) {
    struct sim_clients *clients = client->sim->clients;
    if (clients->guarded_count == clients->guarded_cap) {
        clients->guarded_cap = clients->guarded_cap ? clients->guarded_cap * 2 : 64;
        clients->guarded =
            memory_realloc(clients->guarded, clients->guarded_cap * sizeof(*clients->guarded));
    }
    clients->guarded[clients->guarded_count++] =
        (struct guarded){.guard = *guard,
                         .held = outcome->result == TXN_DONE,
                         .commit_ts = outcome->commit_ts,
                         .returned = ++clients->moment};
}

/* A change that somebody was told. */
struct change {
    uint64_t version, called;
    enum register_op_kind kind;
    bool sure; /* else it may have been the deletion of nothing, which leaves no trace */
};

/* What left a trace, or may have, in the order of versions. */
struct changes {
    struct change *changes;
    size_t count;
    uint64_t unknown_called; /* when the first write was called of which nobody knows */
};

static int compare_changes(const void *a, const void *b) {
    uint64_t left = ((const struct change *)a)->version;
    uint64_t right = ((const struct change *)b)->version;
    return left < right ? -1 : left > right;
}

/* Drops the deletions of what was not there. */
static void keep_traces(struct changes *changes) {
    size_t kept = 0;
    bool present = false, all_known = changes->unknown_called == UINT64_MAX;
    for (size_t i = 0; i < changes->count; i++) {
        struct change *change = &changes->changes[i];
        bool deletes = change->kind == REGISTER_DELETE;
        change->sure = !deletes || (present && all_known);
        bool nothing = deletes && !present && all_known;
        present = !deletes;
        if (!nothing) changes->changes[kept++] = *change;
    }
    changes->count = kept;
}

static void list_changes(const struct history *history, struct changes *changes) {
    *changes =
        (struct changes){.changes = memory_alloc((history->count + 1) * sizeof(*changes->changes)),
                         .unknown_called = UINT64_MAX};
    for (size_t i = 0; i < history->count; i++) {
        const struct register_op *op = &history->ops[i];
        bool reads = op->kind == REGISTER_GET || op->kind == REGISTER_LOOK;
        if (history->versions[i] != 0)
            changes->changes[changes->count++] = (struct change){
                .version = history->versions[i], .called = op->called, .kind = op->kind};
        else if (op->answer == REGISTER_UNKNOWN && !reads && op->called < changes->unknown_called)
            changes->unknown_called = op->called;
    }
    qsort(changes->changes, changes->count, sizeof(*changes->changes), compare_changes);
    keep_traces(changes);
}

/* The change that the guard must have met, had it been evaluated; NULL: none. */
static const struct change *missed(const struct guarded *guarded, const struct changes *changes) {
    for (size_t i = 0; i < changes->count; i++) {
        const struct change *change = &changes->changes[i];
        if (change->sure && change->version > guarded->guard.version &&
            change->version < guarded->commit_ts)
            return change;
    }
    return NULL;
}

/* Whether there is one that the guard may have met. */
static bool may_meet(const struct guarded *guarded, const struct changes *changes) {
    if (changes->unknown_called < guarded->returned) return true;
    for (size_t i = 0; i < changes->count; i++) {
        const struct change *change = &changes->changes[i];
        if (change->version > guarded->guard.version && change->called < guarded->returned)
            return true;
    }
    return false;
}

static void judge(struct sim *sim, const struct guarded *guarded, const struct changes *all) {
    const struct client_guard *guard = &guarded->guard;
    bool explained = false;
    for (uint32_t i = guard->first; i <= guard->last; i++) {
        const struct change *change = guarded->held ? missed(guarded, &all[i]) : NULL;
        if (change)
            sim_broken(sim, "where a guard held, nothing was changed",
                       "a write at %" PRIu64 " demanded that registers %u to %u are unchanged "
                       "since %" PRIu64 ": there is a %s of %u at %" PRIu64,
                       guarded->commit_ts, guard->first, guard->last, guard->version,
                       register_op_name(change->kind), i, change->version);
        if (may_meet(guarded, &all[i])) explained = true;
    }
    if (!guarded->held && !explained)
        sim_broken(sim, "a guard holds where nothing was changed",
                   "registers %u to %u are unchanged since %" PRIu64 ", and that was refused",
                   guard->first, guard->last, guard->version);
}

void client_guards_judge(struct sim *sim) {
    const struct sim_clients *clients = sim->clients;
    struct changes all[REGISTERS_MAX];
    for (uint32_t i = 0; i < clients->register_count; i++)
        list_changes(&clients->histories[i], &all[i]);
    for (size_t i = 0; i < clients->guarded_count; i++)
        judge(sim, &clients->guarded[i], all);
    for (uint32_t i = 0; i < clients->register_count; i++)
        memory_free(all[i].changes);
}
