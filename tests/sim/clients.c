/* What clients ask, how they insist, and the end of the story. */
#include "tests/sim/clients.h"

#include <inttypes.h>
#include <stdio.h>

#define RETRY_US 20000u
/* Of a page's limit, about (range/request.h): key, value, what is around them. */
#define SCAN_ROW_BYTES 60u
#define STATEMENT_ROW_BYTES 70u
#define STALE_EVERY 8u /* operations, if they are reads: no chance of its own */

/* ---- keys: ranges are cut so that an issuer, or a group of registers, has one of its own ---- */

void client_issuer_key(char *text, size_t size, uint32_t issuer, const char *rest) {
    int len = snprintf(text, size, "issuer/MUNI-%02u/%s", issuer, rest);
    ASSERT(len > 0 && (size_t)len < size);
}

void client_register_key(char *text, size_t size, uint32_t number) {
    (void)snprintf(text, size, "register/%02u/%u", number / REGISTERS_PER_GROUP,
                   number % REGISTERS_PER_GROUP);
}

void sim_clients_split_keys(const struct sim *sim, struct buf *out) {
    for (uint32_t i = 1; i < sim->clients->issuer_count; i++)
        buf_printf(out, "issuer/MUNI-%02u,", i);
    for (uint32_t i = 0; i < sim->clients->group_count; i++)
        buf_printf(out, "%sregister/%02u", i ? "," : "", i);
}

/* ---- a new operation ---- */

static void begin_register_ops(struct client *client, enum register_op_kind kind, uint32_t first,
                               uint32_t count) {
    struct sim_clients *clients = client->sim->clients;
    struct operation *operation = &client->operation;
    operation->key_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct history *history = &clients->histories[first + i];
        if (history->count == history->cap) {
            history->cap = history->cap ? history->cap * 2 : 64;
            history->ops = memory_realloc(history->ops, history->cap * sizeof(*history->ops));
            history->versions =
                memory_realloc(history->versions, history->cap * sizeof(*history->versions));
        }
        history->versions[history->count] = 0;
        operation->registers[i] = first + i;
        operation->positions[i] = history->count++;
        operation->floors[i] = history->newest_ts;
        *client_record(clients, operation, i) = (struct register_op){
            .kind = kind, .answer = REGISTER_UNKNOWN, .called = ++clients->moment};
    }
}

/* The sum itself, if the register holds what clients think, or one beside it; or any of the values
 * of now. */
static int64_t choose_bound(struct sim *sim, const struct operation *operation, int64_t sum) {
    if (sim_chance(sim, 600)) return sum + (int64_t)prng_below(&sim->prng, 3) - 1;
    return ((int64_t)operation->number - (int64_t)prng_below(&sim->prng, 60)) * REGISTER_STEP;
}

/* Up or down, within bounds that are sometimes in the way. */
static void choose_sum(struct sim *sim, const struct operation *operation, struct register_op *op) {
    const struct history *history = &sim->clients->histories[operation->registers[0]];
    op->argument = (int64_t)prng_between(&sim->prng, 1, REGISTER_ADD_MAX);
    if (sim_chance(sim, 300)) op->argument = -op->argument;
    int64_t sum = history->newest_state.number + op->argument;
    if (sim_chance(sim, 250)) op->maximum = choose_bound(sim, operation, sum);
    if (sim_chance(sim, 250)) op->minimum = choose_bound(sim, operation, sum);
    if (op->minimum > op->maximum) op->minimum = op->maximum;
}

static void begin_change(struct client *client, uint32_t number) {
    struct sim *sim = client->sim;
    struct sim_clients *clients = sim->clients;
    struct operation *operation = &client->operation;
    operation->kind = OPERATION_CHANGE;
    operation->change = (enum register_op_kind)prng_between(&sim->prng, REGISTER_PUT, REGISTER_ADD);
    begin_register_ops(client, operation->change, number, 1);
    struct register_op *op = client_record(clients, operation, 0);
    op->argument = (int64_t)operation->number * REGISTER_STEP;
    op->minimum = INT64_MIN;
    op->maximum = INT64_MAX;
    if (operation->change == REGISTER_ADD) choose_sum(sim, operation, op);
    client_guards_choose(client);
    if (clients->histories[number].unknown < UNKNOWN_MAX && sim_chance(sim, 200))
        operation->request_id[0] = 0;
}

/* In which order, and in pages of which size, of rows of which size. */
static void choose_pages(struct sim *sim, struct operation *operation, uint32_t rows,
                         uint32_t row_bytes) {
    operation->reverse = sim_chance(sim, 400);
    if (sim_chance(sim, 400)) operation->row_limit = (uint32_t)prng_between(&sim->prng, 1, rows);
    if (sim_chance(sim, 200))
        operation->byte_limit = (uint32_t)prng_between(&sim->prng, 1, rows * row_bytes);
}

static void begin_issuer(struct client *client) {
    struct sim *sim = client->sim;
    struct sim_clients *clients = sim->clients;
    struct operation *operation = &client->operation;
    /* One issuer is hot. */
    operation->issuer =
        sim_chance(sim, 400) ? 0 : (uint32_t)prng_below(&sim->prng, clients->issuer_count);
    struct issuer *issuer = &clients->issuers[operation->issuer];
    uint64_t dice = prng_below(&sim->prng, 100);
    if (dice < 10) {
        operation->kind = OPERATION_STATEMENT;
        operation->called = ++clients->moment;
        operation->request_id[0] = 0;
        choose_pages(sim, operation, 40, STATEMENT_ROW_BYTES);
        return;
    }
    if (dice < 37 && issuer->count > 0) {
        size_t at = prng_below(&sim->prng, issuer->count);
        struct reservation *reservation = &issuer->reservations[at];
        if (reservation->state == RESERVATION_APPROVED && !reservation->cancelling) {
            reservation->cancelling = true;
            operation->kind = OPERATION_CANCEL;
            operation->reservation = at;
            return;
        }
    }
    if (issuer->count == issuer->cap) {
        issuer->cap = issuer->cap ? issuer->cap * 2 : 64;
        issuer->reservations =
            memory_realloc(issuer->reservations, issuer->cap * sizeof(*issuer->reservations));
    }
    operation->kind = OPERATION_RESERVE;
    operation->reservation = issuer->count++;
    issuer->reservations[operation->reservation] =
        (struct reservation){.number = operation->number,
                             .amount = (int64_t)prng_between(&sim->prng, 1, 500),
                             .insert_first = sim_chance(sim, 500)};
}

/* What was decided the day before, once more; or its request id for another change of the same
 * register, which is served as if there had been no other. */
static void begin_remembered(struct client *client) {
    struct operation *operation = &client->operation;
    const struct operation *remembered = &client->remembered;
    if (client->memory == MEMORY_REPEAT) {
        *operation = *remembered;
    } else {
        *operation = (struct operation){.number = ++client->sim->clients->last_number};
        begin_change(client, remembered->registers[0]);
        memcpy(operation->request_id, remembered->request_id, sizeof(operation->request_id));
        operation->reused = true;
    }
    client->memory = MEMORY_NONE;
    client->busy = true;
}

static void begin_operation(struct client *client) {
    struct sim *sim = client->sim;
    struct sim_clients *clients = sim->clients;
    if (client->memory >= MEMORY_REPEAT) {
        begin_remembered(client);
        return;
    }
    client->operation = (struct operation){.number = ++clients->last_number};
    (void)snprintf(client->operation.request_id, sizeof(client->operation.request_id),
                   "c%u-%" PRIu64, client->number, client->operation.number);
    uint64_t dice = prng_below(&sim->prng, 100);
    if (dice < 45) {
        begin_issuer(client);
    } else if (dice < 70) {
        begin_change(client, (uint32_t)prng_below(&sim->prng, clients->register_count));
    } else {
        uint32_t count =
            dice < 96 ? (uint32_t)prng_between(&sim->prng, 1, 3) : clients->register_count;
        uint32_t first = (uint32_t)prng_below(&sim->prng, clients->register_count - count + 1);
        client->operation.kind = dice < 92 ? OPERATION_READ : OPERATION_SCAN;
        client->operation.request_id[0] = 0;
        if (client->operation.kind == OPERATION_SCAN) {
            choose_pages(sim, &client->operation, 4, SCAN_ROW_BYTES);
            client->operation.keys_only = sim_chance(sim, 250);
        }
        begin_register_ops(client, client->operation.keys_only ? REGISTER_LOOK : REGISTER_GET,
                           first, count);
    }
    bool read = !client->operation.request_id[0] && client->operation.kind != OPERATION_CHANGE;
    client->operation.stale = read && client->operation.number % STALE_EVERY == 0;
    client->operation.unjudged =
        read && !client->operation.stale && sim->config.leases_fail && sim_chance(sim, 300);
    client->busy = true;
}

/* ---- sending ---- */

/* A router that has lost its way to a leader, and nobody else has, serves who has the time for it;
 * but a write that must not run twice may have been under way when the way was lost. */
static void check_served(const struct client *client, const struct router_reply *reply) {
    const struct sim *sim = client->sim;
    bool once = client_writes(&client->operation) && !client->operation.request_id[0];
    uint64_t since_us =
        client->sent_us > sim->ways_changed_us ? client->sent_us : sim->ways_changed_us;
    if (!sim->config.only_lost_ways || !sim->hurting || sim->now_us < since_us + SIM_DETOUR_US)
        return;
    if (reply->code == ROUTER_TIMEOUT || reply->code == ROUTER_UNAVAILABLE ||
        (reply->code == ROUTER_UNKNOWN && !once))
        sim_broken(client->sim, "a router that is cut off from a leader alone serves its clients",
                   "client %u, operation kind %d, through router %u: code %d after %u us, %u us "
                   "after the last change: %.*s",
                   client->number, (int)client->operation.kind, client->router + 1,
                   (int)reply->code, (unsigned)(sim->now_us - client->sent_us),
                   (unsigned)(sim->now_us - sim->ways_changed_us), (int)reply->text.len,
                   (const char *)reply->text.data);
}

static void done(void *ctx, const struct router_reply *reply) {
    struct client *client = ctx;
    ASSERT(client->waiting && client->busy);
    client->waiting = false;
    check_served(client, reply);
    client_told(client, reply);
    uint64_t pause_us = client->busy ? RETRY_US : client->sim->config.think_us;
    sim_timer_start(client->sim, &client->timer,
                    client->sim->now_us + sim_around(client->sim, pause_us));
}

struct sending {
    struct router_request request;
    struct txn_command command;
    struct txn_guard guards[GUARDS_MAX];
    struct client_guard_texts guard_texts;
    struct txn_op ops[2];
    char keys[KEYS_PER_OPERATION_MAX][64];
    struct slice key_slices[KEYS_PER_OPERATION_MAX];
    uint8_t number[TXN_NUMBER_TEXT_BYTES_MAX];
    char end[64 + 1]; /* a key, and something behind it */
};

static struct slice number_text(struct sending *sending, int64_t number) {
    return slice_make(sending->number, txn_number_format(number, sending->number));
}

static void fill_issuer(struct client *client, struct sending *sending) {
    const struct operation *operation = &client->operation;
    if (operation->kind == OPERATION_STATEMENT) {
        client_issuer_key(sending->keys[0], sizeof(sending->keys[0]), operation->issuer, "");
        client_issuer_key(sending->end, sizeof(sending->end), operation->issuer, "s");
        sending->request.op = ROUTER_SCAN;
        sending->request.start = slice_from_text(sending->keys[0]);
        sending->request.end = slice_from_text(sending->end);
        return;
    }
    const struct reservation *reservation =
        &client->sim->clients->issuers[operation->issuer].reservations[operation->reservation];
    char rest[40];
    (void)snprintf(rest, sizeof(rest), "reservation/R-%" PRIu64, reservation->number);
    client_issuer_key(sending->keys[0], sizeof(sending->keys[0]), operation->issuer, "exposure");
    client_issuer_key(sending->keys[1], sizeof(sending->keys[1]), operation->issuer, rest);
    bool reserve = operation->kind == OPERATION_RESERVE;
    struct txn_op *add = &sending->ops[reservation->insert_first ? 1 : 0];
    struct txn_op *row = &sending->ops[reservation->insert_first ? 0 : 1];
    *add = (struct txn_op){.kind = TXN_OP_ADD,
                           .key = slice_from_text(sending->keys[0]),
                           .delta = reserve ? reservation->amount : -reservation->amount,
                           .minimum = 0,
                           .maximum = ISSUER_LIMIT};
    *row = (struct txn_op){.kind = reserve ? TXN_OP_INSERT : TXN_OP_DELETE,
                           .key = slice_from_text(sending->keys[1])};
    if (reserve) row->value = number_text(sending, reservation->amount);
    sending->guards[0] =
        (struct txn_guard){.kind = TXN_GUARD_EXISTS, .key = slice_from_text(sending->keys[1])};
    sending->command.guard_count = reserve ? 0 : 1;
    sending->command.op_count = 2;
    sending->request.op = ROUTER_WRITE;
}

static void fill_register(struct client *client, struct sending *sending) {
    const struct operation *operation = &client->operation;
    for (uint32_t i = 0; i < operation->key_count; i++) {
        client_register_key(sending->keys[i], sizeof(sending->keys[i]), operation->registers[i]);
        sending->key_slices[i] = slice_from_text(sending->keys[i]);
    }
    if (operation->kind == OPERATION_READ) {
        sending->request.op = ROUTER_GET;
        sending->request.key_count = operation->key_count;
        sending->request.keys = sending->key_slices;
    } else if (operation->kind == OPERATION_SCAN) {
        (void)snprintf(sending->end, sizeof(sending->end), "%s~",
                       sending->keys[operation->key_count - 1]);
        sending->request.op = ROUTER_SCAN;
        sending->request.start = sending->key_slices[0];
        sending->request.end = slice_from_text(sending->end);
    } else {
        static const enum txn_op_kind kinds[] = {0, TXN_OP_PUT, TXN_OP_DELETE, TXN_OP_INSERT,
                                                 TXN_OP_ADD};
        const struct register_op *op = client_record(client->sim->clients, operation, 0);
        sending->ops[0] =
            (struct txn_op){.kind = kinds[operation->change], .key = sending->key_slices[0]};
        if (operation->change == REGISTER_ADD) {
            sending->ops[0].delta = op->argument;
            sending->ops[0].minimum = op->minimum;
            sending->ops[0].maximum = op->maximum;
        } else if (operation->change != REGISTER_DELETE) {
            sending->ops[0].value = number_text(sending, op->argument);
        }
        sending->command.guard_count =
            client_guards_fill(client, &sending->guard_texts, sending->guards);
        sending->command.op_count = 1;
        sending->request.op = ROUTER_WRITE;
    }
}

static void send_operation(struct client *client) {
    struct sim *sim = client->sim;
    struct operation *operation = &client->operation;
    struct sim_router *router = &sim->routers[client->router];
    struct sending *sending = MEMORY_NEW(struct sending);
    sending->command.request_id = slice_from_text(operation->request_id);
    sending->command.guards = sending->guards;
    sending->command.ops = sending->ops;
    sending->request.command = &sending->command;
    if (sim->config.leases_fail ? !operation->unjudged : sim_chance(sim, 200))
        sending->request.read_mode = RANGE_READ_INDEX;
    if (operation->stale) sending->request.read_mode = RANGE_READ_STALE;
    if (operation->kind <= OPERATION_STATEMENT)
        fill_issuer(client, sending);
    else
        fill_register(client, sending);
    sending->request.reverse = operation->reverse;
    sending->request.keys_only = operation->keys_only;
    sending->request.row_limit = operation->row_limit;
    sending->request.byte_limit = operation->byte_limit;
    if (operation->from[0])
        *(operation->reverse ? &sending->request.end : &sending->request.start) =
            slice_from_text(operation->from);
    uint64_t host_us = sim_host_now_us(&router->host);
    bool hurried = client->believes && client_writes(operation) && sim_chance(sim, 300);
    sending->request.deadline_us = host_us + (hurried ? prng_between(&sim->prng, 5000, 100000)
                                                      : prng_between(&sim->prng, 300000, 5000000));
    operation->attempts++;
    client->waiting = true;
    client->sent_us = sim->now_us;
    router_submit(router->router, &sending->request, host_us, done, client);
    memory_free(sending);
    sim_router_settle(router);
}

static void verify_next(struct client *client) {
    struct sim_clients *clients = client->sim->clients;
    client->operation = (struct operation){.kind = OPERATION_STATEMENT,
                                           .number = ++clients->last_number,
                                           .verify = true,
                                           .called = ++clients->moment,
                                           .issuer = clients->verify_next++};
    choose_pages(client->sim, &client->operation, 100, STATEMENT_ROW_BYTES);
    client->busy = true;
}

static void act(struct sim *sim, struct sim_timer *timer) {
    struct client *client = CONTAINER_OF(timer, struct client, timer);
    struct sim_clients *clients = sim->clients;
    if (!client->busy) {
        if (clients->verify_next < clients->issuer_count)
            verify_next(client);
        else if (clients->finishing || clients->resting)
            return;
        else
            begin_operation(client);
    }
    /* Through the other router when this one is away; a retry may go there as well. */
    if (!sim->routers[client->router].host.up || sim_chance(sim, 50))
        client->router = (client->router + 1) % SIM_ROUTERS;
    const struct sim_host *host = &sim->routers[client->router].host;
    if (!host->up || host->paused) {
        sim_timer_start(sim, timer, sim->now_us + RETRY_US);
        return;
    }
    send_operation(client);
}

/* ---- life ---- */

void sim_clients_new(struct sim *sim) {
    struct sim_clients *clients = MEMORY_NEW(struct sim_clients);
    sim->clients = clients;
    clients->issuer_count = sim->config.ranges / 2;
    clients->group_count = sim->config.ranges - clients->issuer_count;
    clients->register_count = clients->group_count * REGISTERS_PER_GROUP;
    clients->verify_next = UINT32_MAX;
    ASSERT(sim->config.clients <= CLIENTS_MAX);
    for (uint32_t i = 0; i < sim->config.clients; i++) {
        struct client *client = &clients->clients[i];
        client->sim = sim;
        client->number = i;
        client->router = i % SIM_ROUTERS;
        client->believes = i / SIM_ROUTERS % 2 == 0;
        client->timer.fire = act;
        sim_timer_start(sim, &client->timer, sim->now_us + sim_around(sim, 1000000));
    }
}

void sim_clients_free(struct sim *sim) {
    struct sim_clients *clients = sim->clients;
    for (uint32_t i = 0; i < ISSUERS_MAX; i++)
        memory_free(clients->issuers[i].reservations);
    for (uint32_t i = 0; i < REGISTERS_MAX; i++) {
        memory_free(clients->histories[i].ops);
        memory_free(clients->histories[i].versions);
    }
    memory_free(clients->guarded);
    memory_free(clients);
}

void sim_clients_finish(struct sim *sim) {
    sim->clients->finishing = true;
}

void sim_clients_rest(struct sim *sim) {
    sim->clients->resting = true;
}

void sim_clients_go_on(struct sim *sim) {
    bool forgotten = sim->config.night_hours > SIM_REMEMBERED_HOURS;
    sim->clients->resting = false;
    for (uint32_t i = 0; i < sim->config.clients; i++) {
        struct client *client = &sim->clients->clients[i];
        if (client->memory == MEMORY_FRESH)
            client->memory = forgotten ? MEMORY_REUSE : MEMORY_REPEAT;
        sim_timer_start(sim, &client->timer, sim->now_us + sim_around(sim, sim->config.think_us));
    }
}

bool sim_clients_idle(const struct sim *sim) {
    for (uint32_t i = 0; i < sim->config.clients; i++)
        if (sim->clients->clients[i].busy) return false;
    return sim->clients->verify_next >= sim->clients->issuer_count;
}

void sim_clients_note_busy(struct sim *sim) {
    for (uint32_t i = 0; i < sim->config.clients; i++) {
        const struct client *client = &sim->clients->clients[i];
        const struct operation *operation = &client->operation;
        if (!client->busy) continue;
        sim_note(sim,
                 "client %u: operation kind %d, attempt %u through router %u, %s, last told %d", i,
                 (int)operation->kind, operation->attempts, client->router + 1,
                 client->waiting ? "with the router" : "pausing", (int)operation->last_code);
    }
}

uint64_t sim_clients_decided(const struct sim *sim) {
    return sim->clients->decided;
}

void sim_clients_verify_begin(struct sim *sim) {
    sim->clients->verify_next = 0;
    sim_timer_start(sim, &sim->clients->clients[0].timer, sim->now_us);
}

void sim_clients_judge(struct sim *sim, uint64_t *ret_histories, uint64_t *ret_undecided) {
    struct sim_clients *clients = sim->clients;
    *ret_histories = clients->register_count;
    for (uint32_t i = 0; i < clients->issuer_count; i++)
        ASSERT(clients->issuers[i].verified);
    client_guards_judge(sim);
    for (uint32_t i = 0; i < clients->register_count; i++) {
        const struct history *history = &clients->histories[i];
        size_t culprit = 0;
        char key[48];
        client_register_key(key, sizeof(key), i);
        enum linearizability verdict =
            linearizability_check(history->ops, history->count, 300000, &culprit);
        if (verdict == LINEARIZABILITY_UNDECIDED) ++*ret_undecided;
        if (verdict != NOT_LINEARIZABLE) continue;
        const struct register_op *op = &history->ops[culprit];
        sim_broken(sim, "every register is linearizable",
                   "%s: %s of %" PRId64 " that saw %s%" PRId64 ", called at moment %" PRIu64
                   ", answered at %" PRIu64 ", of %zu operations",
                   key, register_op_name(op->kind), op->argument,
                   op->seen.present ? "" : "nothing, ", op->seen.number, op->called, op->returned,
                   history->count);
    }
}
