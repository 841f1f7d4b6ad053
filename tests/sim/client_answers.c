/* What a client is told, against what it was told before. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/clients.h"
#include "txn/number.h"

static void decided(struct client *client) {
    client->busy = false;
    client->sim->clients->decided++;
}

static struct reservation *reservation_of(struct client *client) {
    const struct operation *operation = &client->operation;
    return &client->sim->clients->issuers[operation->issuer].reservations[operation->reservation];
}

/* It has changed nothing, for a reason that says nothing about what is there. */
static void withdraw(struct client *client) {
    struct operation *operation = &client->operation;
    if (operation->kind == OPERATION_RESERVE) {
        reservation_of(client)->state = RESERVATION_REFUSED;
    } else if (operation->kind == OPERATION_CANCEL) {
        reservation_of(client)->cancelling = false;
    } else {
        struct register_op *op = client_record(client->sim->clients, operation, 0);
        op->kind = REGISTER_GET; /* as a read without an answer it says nothing */
    }
}

/* ---- Harbor Point ---- */

static void told_reserve(struct client *client, const struct txn_outcome *outcome) {
    struct reservation *reservation = reservation_of(client);
    bool reserve = client->operation.kind == OPERATION_RESERVE;
    bool refused = reserve && outcome->result == TXN_REFUSED_BOUND;
    if (outcome->result == TXN_REFUSED_WORK) {
        withdraw(client);
        return;
    }
    bool right = outcome->result == TXN_DONE && outcome->number_count == 1 &&
                 outcome->numbers[0] >= 0 && outcome->numbers[0] <= ISSUER_LIMIT;
    if (!right && !refused)
        sim_broken(client->sim, "an approved reservation is there until it is cancelled",
                   "issuer %u, %s of reservation %" PRIu64 ": %s", client->operation.issuer,
                   reserve ? "approval" : "cancellation", reservation->number,
                   txn_result_text(outcome->result));
    if (!reserve) reservation->cancelled = ++client->sim->clients->moment;
    if (reserve && !refused) reservation->approved = ++client->sim->clients->moment;
    reservation->state = !reserve  ? RESERVATION_CANCELLED
                         : refused ? RESERVATION_REFUSED
                                   : RESERVATION_APPROVED;
}

/* They are in the order of their numbers. */
static struct reservation *find_reservation(struct issuer *issuer, uint64_t number) {
    size_t low = 0, high = issuer->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (issuer->reservations[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < issuer->count && issuer->reservations[low].number == number;
    return found ? &issuer->reservations[low] : NULL;
}

static int64_t row_number(struct sim *sim, const struct range_row *row) {
    int64_t number = 0;
    if (!txn_number_parse(row->value, &number))
        sim_broken(sim, "what is read was written", "a value that is not a number");
    return number;
}

/* A row must stand for something that was asked for, and that was not known to be gone. */
static int64_t check_row(struct client *client, struct issuer *issuer,
                         const struct range_row *row) {
    static const char marker[] = "/R-";
    char text[64] = {0};
    memcpy(text, row->key.data, row->key.len < 63 ? row->key.len : 63);
    const char *at = strstr(text, marker);
    int64_t amount = row_number(client->sim, row);
    if (!at) return -1; /* the exposure */
    uint64_t number = strtoull(at + sizeof(marker) - 1, NULL, 10);
    struct reservation *reservation = find_reservation(issuer, number);
    bool right = reservation && reservation->amount == amount &&
                 reservation->state != RESERVATION_REFUSED &&
                 (client->operation.stale || !reservation->cancelled ||
                  reservation->cancelled >= client->operation.called) &&
                 (!client->operation.verify || reservation->state == RESERVATION_APPROVED);
    if (!right)
        sim_broken(client->sim, "only what was approved is reserved",
                   "issuer %u holds reservation %" PRIu64 " of %" PRId64, client->operation.issuer,
                   number, amount);
    if (reservation->shown == client->operation.number)
        sim_broken(client->sim, "a statement shows a reservation once",
                   "issuer %u: reservation %" PRIu64 " is there again", client->operation.issuer,
                   number);
    reservation->shown = client->operation.number;
    return amount;
}

/* Of the keys from where it was to go on, as far as the page goes. */
static bool is_in_page(const char *key, const struct operation *operation,
                       const struct router_reply *reply) {
    struct slice text = slice_from_text(key), from = slice_from_text(operation->from);
    if (operation->reverse)
        return (from.len == 0 || slice_compare(text, from) < 0) &&
               (!reply->more || slice_compare(text, reply->resume) >= 0);
    return slice_compare(text, from) >= 0 &&
           (!reply->more || slice_compare(text, reply->resume) < 0);
}

/* The keys of a scan, in its own order. */
static uint32_t key_at(const struct operation *operation, uint32_t place) {
    return operation->reverse ? operation->key_count - 1 - place : place;
}

/* Nothing more than was asked for. */
static void check_page_size(struct client *client, const struct router_reply *reply) {
    const struct operation *operation = &client->operation;
    size_t bytes = 0;
    for (uint32_t i = 0; i < reply->row_count; i++) {
        bytes += RANGE_ROW_BYTES + reply->rows[i].key.len + reply->rows[i].value.len;
        if (operation->keys_only && reply->rows[i].value.len > 0)
            sim_broken(client->sim, "a scan of keys shows no values", "client %u", client->number);
    }
    bool rows = operation->row_limit > 0 && reply->row_count > operation->row_limit;
    bool large = operation->byte_limit > 0 && reply->row_count > 1 && bytes > operation->byte_limit;
    if (rows || large)
        sim_broken(client->sim, "a page keeps its limits", "%u rows of %zu bytes: at most %u, %u",
                   reply->row_count, bytes, operation->row_limit, operation->byte_limit);
}

/* What was approved before the statement was asked for is in its page, unless somebody asked to
 * cancel it. */
static void check_complete(struct client *client, const struct issuer *issuer,
                           const struct router_reply *reply) {
    const struct operation *operation = &client->operation;
    for (size_t i = 0; i < issuer->count; i++) {
        const struct reservation *reservation = &issuer->reservations[i];
        bool due = reservation->approved && reservation->approved < operation->called &&
                   !reservation->cancelling;
        if (!due || reservation->shown == operation->number) continue;
        char rest[40], key[64];
        (void)snprintf(rest, sizeof(rest), "reservation/R-%" PRIu64, reservation->number);
        client_issuer_key(key, sizeof(key), operation->issuer, rest);
        if (is_in_page(key, operation, reply))
            sim_broken(client->sim, "a statement shows what was approved before it",
                       "issuer %u: reservation %" PRIu64 " is missing", operation->issuer,
                       reservation->number);
    }
}

/* A scan's next page is asked for from where this one says. */
static void go_on_from(struct client *client, const struct router_reply *reply) {
    struct operation *operation = &client->operation;
    struct slice from = slice_from_text(operation->from);
    int order = slice_compare(reply->resume, from);
    bool further = operation->reverse ? from.len == 0 || order < 0 : order > 0;
    if (reply->resume.len == 0 || reply->resume.len >= sizeof(operation->from) || !further)
        sim_broken(client->sim, "a scan that is not over gets on", "client %u: from %s to %.*s",
                   client->number, operation->from, (int)reply->resume.len,
                   (const char *)reply->resume.data);
    client->sim->life.pages++;
    memcpy(operation->from, reply->resume.data, reply->resume.len);
    operation->from[reply->resume.len] = 0;
}

/* The rows of one page are of one instant, and so they add up; those of several do if nobody
 * changes anything meanwhile. But a router goes on by itself from a page without rows, and what is
 * written behind it then is not shown: the exposure, which comes last backwards, may tell of it. */
static void told_statement(struct client *client, const struct router_reply *reply) {
    struct operation *operation = &client->operation;
    struct issuer *issuer = &client->sim->clients->issuers[operation->issuer];
    size_t approved = 0;
    check_page_size(client, reply);
    for (uint32_t i = 0; i < reply->row_count; i++) {
        int64_t amount = check_row(client, issuer, &reply->rows[i]);
        if (amount < 0) {
            operation->exposure = row_number(client->sim, &reply->rows[i]);
            continue;
        }
        operation->sum += amount;
        operation->rows++;
    }
    operation->pages++;
    /* A stale one was so once: the sum is right at any index. */
    if (!operation->stale) check_complete(client, issuer, reply);
    if (reply->more) {
        go_on_from(client, reply);
        return;
    }
    bool one_instant = (operation->pages == 1 && !operation->reverse) || operation->verify;
    if ((one_instant && operation->exposure != operation->sum) ||
        operation->exposure > ISSUER_LIMIT)
        sim_broken(client->sim, "an issuer's exposure is the sum of its reservations",
                   "issuer %u: exposure %" PRId64 ", reservations %" PRId64 ", limit %d",
                   operation->issuer, operation->exposure, operation->sum, ISSUER_LIMIT);
    if (!operation->verify) return;
    for (size_t i = 0; i < issuer->count; i++)
        approved += issuer->reservations[i].state == RESERVATION_APPROVED ? 1 : 0;
    if (operation->rows != approved)
        sim_broken(client->sim, "nothing that was acknowledged is lost",
                   "issuer %u: %zu reservations are there of %zu approved", operation->issuer,
                   operation->rows, approved);
    issuer->verified = true;
}

/* ---- registers ---- */

/* `version` is that of what the register held then; 0: not known, or none. */
static void told_register(struct client *client, uint32_t key, struct register_state seen,
                          struct register_state held, uint64_t version) {
    struct sim_clients *clients = client->sim->clients;
    const struct operation *operation = &client->operation;
    struct register_op *op = client_record(clients, operation, key);
    struct history *history = &clients->histories[operation->registers[key]];
    op->seen = seen;
    op->returned = ++clients->moment;
    if (version == 0) return;
    /* On a key, timestamps grow with real time: a version older than one that somebody was told
     * before this operation began is a stale read, or a write into the past. */
    bool write = operation->kind == OPERATION_CHANGE;
    uint64_t floor = operation->floors[key];
    if (write ? version <= floor && !operation->repeated : version < floor)
        sim_broken(client->sim, "a key's timestamps grow with time",
                   "register %u: a %s at %" PRIu64 " began after %" PRIu64 " was known",
                   operation->registers[key], write ? "write" : "read", version, floor);
    if (history->newest_ts >= version || op->kind == REGISTER_LOOK) return;
    history->newest_ts = version;
    history->newest_state = held;
}

static void told_rows(struct client *client, const struct router_reply *reply) {
    struct operation *operation = &client->operation;
    bool scan = operation->kind == OPERATION_SCAN;
    uint32_t at = 0;
    ASSERT(scan || (!reply->more && reply->row_count == operation->key_count));
    check_page_size(client, reply);
    for (uint32_t place = operation->keys_passed; place < operation->key_count; place++) {
        uint32_t i = key_at(operation, place);
        char key[48];
        struct register_state seen = {0};
        uint64_t version = 0;
        client_register_key(key, sizeof(key), operation->registers[i]);
        if (!is_in_page(key, operation, reply)) break;
        operation->keys_passed = place + 1;
        const struct range_row *row = at < reply->row_count ? &reply->rows[at] : NULL;
        bool mine = row && (!scan || slice_equal(row->key, slice_from_text(key)));
        if (mine) at++;
        if (mine && row->version != 0) {
            seen.present = true;
            if (!operation->keys_only) seen.number = row_number(client->sim, row);
            version = row->version;
        }
        client_record(client->sim->clients, operation, i)->answer = REGISTER_DONE;
        told_register(client, i, seen, seen, version);
    }
    if (at != reply->row_count)
        sim_broken(client->sim, "a scan holds what it was asked for", "%u rows of %u are foreign",
                   reply->row_count - at, reply->row_count);
    if (reply->more) go_on_from(client, reply);
}

/* Nothing says that it is new. But what was known to be written by now, up to as_of, it shows, or
 * what came after that. */
static void told_stale(struct client *client, const struct router_reply *reply) {
    struct operation *operation = &client->operation;
    bool scan = operation->kind == OPERATION_SCAN;
    uint32_t at = 0;
    for (uint32_t place = operation->keys_passed; place < operation->key_count; place++) {
        uint32_t i = key_at(operation, place);
        char key[48];
        client_register_key(key, sizeof(key), operation->registers[i]);
        if (!is_in_page(key, operation, reply)) break;
        operation->keys_passed = place + 1;
        const struct range_row *row = at < reply->row_count ? &reply->rows[at] : NULL;
        if (!row || (scan && !slice_equal(row->key, slice_from_text(key)))) continue;
        at++;
        uint64_t known = client->sim->clients->histories[operation->registers[i]].newest_ts;
        if (row->version != 0 && known <= reply->as_of && row->version < known)
            sim_broken(client->sim, "a stale read shows what was written up to as_of",
                       "register %u: version %" PRIu64 " as of %" PRIu64 ", known is %" PRIu64,
                       operation->registers[i], row->version, reply->as_of, known);
    }
    if (reply->more) go_on_from(client, reply);
}

static struct register_state state_after(const struct register_op *op, struct register_state sum) {
    if (op->kind == REGISTER_DELETE) return (struct register_state){0};
    if (op->kind == REGISTER_ADD) return sum;
    return (struct register_state){true, op->argument};
}

static void told_change(struct client *client, const struct txn_outcome *outcome) {
    struct sim_clients *clients = client->sim->clients;
    const struct operation *operation = &client->operation;
    struct register_op *op = client_record(clients, operation, 0);
    struct register_state seen = {.present = true};
    bool done = outcome->result == TXN_DONE;
    bool guarded = outcome->result == TXN_REFUSED_GUARD && outcome->index < operation->guard_count;
    bool refused =
        (operation->change == REGISTER_INSERT && outcome->result == TXN_REFUSED_EXISTS) ||
        (operation->change == REGISTER_ADD && outcome->result == TXN_REFUSED_BOUND);
    bool too_much = outcome->result == TXN_REFUSED_WORK;
    if (!done && !refused && !guarded && !too_much)
        sim_broken(client->sim, "a change is done, or refused for its own reason",
                   "register %u: %s", operation->registers[0], txn_result_text(outcome->result));
    for (uint32_t i = 0; i < operation->guard_count; i++)
        if (operation->guards[i].by_versions && (done || (guarded && outcome->index == i)))
            client_guards_note(client, &operation->guards[i], outcome);
    if (too_much || (guarded && operation->guards[outcome->index].by_versions)) {
        withdraw(client);
        return;
    }
    if (operation->change == REGISTER_ADD)
        seen.number = done ? outcome->numbers[0] : outcome->number;
    op->answer = done ? REGISTER_DONE : guarded ? REGISTER_GUARDED : REGISTER_REFUSED;
    clients->histories[operation->registers[0]].versions[operation->positions[0]] =
        outcome->commit_ts;
    told_register(client, 0, seen, state_after(op, seen), done ? outcome->commit_ts : 0);
}

/* ---- any ---- */

/* The same request id again: the same answer, and nothing done twice (the sums and histories would
 * show it). */
static void told_again(struct client *client, const struct txn_outcome *outcome) {
    const struct operation *operation = &client->operation;
    int64_t number = outcome->number_count ? outcome->numbers[0] : outcome->number;
    if (!outcome->replayed || outcome->result != operation->told_result ||
        number != operation->told_number ||
        (outcome->result == TXN_DONE && outcome->commit_ts != operation->told_ts))
        sim_broken(client->sim, "a request id is decided once",
                   "%s was told %s at %" PRIu64 ", then %s at %" PRIu64 "%s", operation->request_id,
                   txn_result_text(operation->told_result), operation->told_ts,
                   txn_result_text(outcome->result), outcome->commit_ts,
                   outcome->replayed ? "" : ", evaluated again");
    decided(client);
}

static void count_life(struct sim_life *life, const struct operation *operation,
                       enum txn_result result) {
    if (result == TXN_DONE) life->guards_held += operation->guard_count;
    if (result == TXN_REFUSED_GUARD) life->guards_refused++;
    if (result == TXN_REFUSED_BOUND) life->bounds_refused++;
    if (result == TXN_REFUSED_WORK) life->works_refused++;
}

static void remember(struct client *client) {
    const struct sim *sim = client->sim;
    bool changes = client->operation.kind == OPERATION_CHANGE;
    if (sim->night_ms > 0) return; /* there is one night */
    if (sim->config.night_hours > SIM_REMEMBERED_HOURS && !changes) return;
    client->remembered = client->operation;
    client->remembered.repeated = true;
    client->memory = MEMORY_FRESH;
}

static void told_outcome(struct client *client, const struct txn_outcome *outcome) {
    struct operation *operation = &client->operation;
    if (operation->repeated) {
        told_again(client, outcome);
        return;
    }
    /* Replayed it may be: the router asks again, too. But not what was decided before the night. */
    if (operation->reused && outcome->result == TXN_DONE &&
        outcome->commit_ts <= client->remembered.told_ts)
        sim_broken(client->sim, "a request id is forgotten after its time",
                   "%s was decided %" PRIu64 " hours ago", operation->request_id,
                   client->sim->night_ms / 3600000);
    count_life(&client->sim->life, operation, outcome->result);
    client_guards_check_work(client, outcome->result);
    if (operation->kind == OPERATION_CHANGE)
        told_change(client, outcome);
    else
        told_reserve(client, outcome);
    if (operation->request_id[0]) {
        operation->told_result = outcome->result;
        operation->told_ts = outcome->commit_ts;
        operation->told_number = outcome->number_count ? outcome->numbers[0] : outcome->number;
        remember(client);
        operation->repeated = sim_chance(client->sim, 50);
        if (operation->repeated) return; /* still busy: it is sent once more */
    }
    decided(client);
}

/* Told that nothing was changed. Who believes it does not ask again: whoever meets the change later
 * has met a broken promise. */
static void told_unchanged(struct client *client) {
    struct operation *operation = &client->operation;
    if (!client->believes || !client_writes(operation) || operation->doubtful ||
        operation->repeated)
        return;
    withdraw(client);
    decided(client);
}

void client_told(struct client *client, const struct router_reply *reply) {
    struct sim *sim = client->sim;
    struct operation *operation = &client->operation;
    operation->last_code = reply->code;
    sim_trace(sim, UINT64_C(2) << 40 | (uint64_t)client->number << 8 | reply->code, SLICE_EMPTY);
    if (reply->code == ROUTER_INVALID || reply->code == ROUTER_CROSS_RANGE)
        sim_broken(sim, "what clients ask is valid", "client %u: %.*s", client->number,
                   (int)reply->text.len, (const char *)reply->text.data);
    if (reply->code == ROUTER_UNKNOWN && operation->kind == OPERATION_CHANGE &&
        !operation->request_id[0]) {
        sim->clients->histories[operation->registers[0]].unknown++;
        decided(client); /* it will never be known */
        return;
    }
    if (reply->code == ROUTER_UNAVAILABLE && sim->clients->finishing)
        sim_note(sim, "client %u: unavailable: %.*s", client->number, (int)reply->text.len,
                 (const char *)reply->text.data);
    if (reply->code == ROUTER_UNKNOWN) operation->doubtful = true;
    if (reply->code == ROUTER_BUSY || reply->code == ROUTER_TIMEOUT ||
        reply->code == ROUTER_UNAVAILABLE)
        told_unchanged(client);
    if (reply->code != ROUTER_OK) return; /* tried again, with the same request id */
    if (operation->unjudged)
        decided(client);
    else if (reply->outcome)
        told_outcome(client, reply->outcome);
    else if (operation->kind == OPERATION_STATEMENT)
        told_statement(client, reply);
    else if (operation->stale)
        told_stale(client, reply);
    else
        told_rows(client, reply);
    if (!reply->outcome && !operation->unjudged && !reply->more) decided(client);
}
