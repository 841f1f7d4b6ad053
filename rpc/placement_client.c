/* Talking to placement: members, who of them leads, and a node's registration. */
#include "rpc/placement_client.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/address.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "rpc/placement_client_internal.h"

#define TIMEOUT_MS_DEFAULT 1000u
#define BACKOFF_MS_MAX_DEFAULT 500u
/* A node whose place is held by another process keeps asking for so long: longer than placement
 * takes to notice that the other one is gone. */
#define EXISTS_PATIENCE_US (10u * 1000u * 1000u)

/* ---- members ---- */

static enum status add_member(struct placement_client *client, struct slice address,
                              struct buf *error) {
    const char *problem = address_parse(address, ADDRESS_TO_DIAL, NULL);
    if (problem) {
        buf_printf(error, "placement address '%.*s' %s", (int)address.len,
                   (const char *)address.data, problem);
        return STATUS_INVALID;
    }
    if (client->member_count == PLACEMENT_MEMBERS_MAX) {
        buf_printf(error, "placement has at most %u members; more addresses are given",
                   PLACEMENT_MEMBERS_MAX);
        return STATUS_INVALID;
    }
    char text[ADDRESS_BYTES_MAX + 1];
    memcpy(text, address.data, address.len);
    text[address.len] = '\0';
    client->members[client->member_count++] = rpc_client_new(client->loop, text);
    return STATUS_OK;
}

static enum status add_members(struct placement_client *client, const char *addresses,
                               struct buf *error) {
    enum status status = STATUS_OK;
    while (!status) {
        size_t len = strcspn(addresses, ",");
        status = add_member(client, slice_make(addresses, len), error);
        if (!addresses[len]) break;
        addresses += len + 1;
    }
    return status;
}

static void retry_registration(struct rpc_timer *timer);

enum status placement_client_new(const struct placement_client_config *config, struct buf *error,
                                 struct placement_client **ret_client) {
    struct placement_client *client = MEMORY_NEW(struct placement_client);
    client->loop = config->loop;
    client->timeout_ms = config->timeout_ms ? config->timeout_ms : TIMEOUT_MS_DEFAULT;
    client->backoff_ms_max =
        config->backoff_ms_max ? config->backoff_ms_max : BACKOFF_MS_MAX_DEFAULT;
    prng_init(&client->prng, prng_seed_from_system());
    client->register_timer.fire = retry_registration;
    placement_heartbeats_init(client);
    placement_oracle_init(client);
    enum status status = add_members(client, config->addresses ? config->addresses : "", error);
    if (status)
        placement_client_free(client);
    else
        *ret_client = client;
    return status;
}

void placement_client_free(struct placement_client *client) {
    if (!client) return;
    client->closing = true;
    rpc_timer_stop(client->loop, &client->register_timer);
    placement_heartbeats_done(client);
    for (uint32_t i = 0; i < client->member_count; i++)
        rpc_client_free(client->members[i]);
    placement_oracle_done(client);
    memory_free(client->advertise);
    memory_free(client->version);
    memory_free(client);
}

/* ---- calls that find the leader ---- */

struct placement_call {
    struct placement_client *client;
    const char *method;
    struct buf request;
    uint32_t tried; /* members */
    placement_answer_fn *answer;
    void (*freed)(void *ctx);
    void *ctx;
};

static void call_member(struct placement_call *call);

static void call_done(struct placement_call *call) {
    buf_done(&call->request);
    memory_free(call);
}

static void on_response(void *ctx, const struct rpc_status *rpc_status, struct slice response) {
    struct placement_call *call = ctx;
    struct placement_client *client = call->client;
    if (client->closing) {
        if (call->freed) call->freed(call->ctx);
        call_done(call);
        return;
    }
    bool last = call->tried >= client->member_count;
    enum placement_verdict verdict = call->answer(call->ctx, rpc_code_to_status(rpc_status->code),
                                                  rpc_status->text, response, last);
    if (verdict == PLACEMENT_DONE) {
        call_done(call);
        return;
    }
    client->leader = (client->leader + 1) % client->member_count;
    if (last)
        call_done(call);
    else
        call_member(call);
}

static void call_member(struct placement_call *call) {
    struct placement_client *client = call->client;
    const struct rpc_call_options options = {.timeout_us = (uint64_t)client->timeout_ms * 1000};
    call->tried++;
    rpc_client_call(client->members[client->leader], call->method, slice_from_buf(&call->request),
                    &options, on_response, call);
}

void placement_client_call(struct placement_client *client, const char *method,
                           const ProtobufCMessage *request, placement_answer_fn *answer,
                           void (*freed)(void *ctx), void *ctx) {
    struct placement_call *call = MEMORY_NEW(struct placement_call);
    *call = (struct placement_call){
        .client = client, .method = method, .answer = answer, .freed = freed, .ctx = ctx};
    size_t len = protobuf_c_message_get_packed_size(request);
    buf_reserve(&call->request, len + 1);
    call->request.len = protobuf_c_message_pack(request, call->request.data);
    call_member(call);
}

enum status placement_client_read(struct arena *arena, const ProtobufCMessageDescriptor *type,
                                  struct slice bytes, size_t outcome_offset,
                                  ProtobufCMessage **ret_message, struct slice *ret_text) {
    struct buf error = {0};
    enum status status = rpc_message_unpack_response(arena, type, bytes, &error, ret_message);
    if (status) {
        *ret_text = arena_copy(arena, slice_from_buf(&error));
        buf_done(&error);
        return STATUS_CORRUPTION;
    }
    const Flotilla__V1__PlacementOutcome *outcome =
        *(Flotilla__V1__PlacementOutcome *const *)(const void *)((const char *)*ret_message +
                                                                 outcome_offset);
    *ret_text = outcome ? slice_from_text(outcome->text) : SLICE_EMPTY;
    return outcome ? placement_status_from_code(outcome->code) : STATUS_OK;
}

bool placement_ask_elsewhere(enum status status) {
    switch (status) {
    case STATUS_NOT_LEADER:
    case STATUS_UNAVAILABLE:
    case STATUS_TIMEOUT:
    case STATUS_BUSY:
    case STATUS_SHUTDOWN:
    case STATUS_IO:
        return true;
    default:
        return false;
    }
}

uint64_t placement_backoff_us(struct placement_client *client, struct placement_backoff *backoff) {
    if (backoff->next_ms < PLACEMENT_CLIENT_BACKOFF_MIN_MS)
        backoff->next_ms = PLACEMENT_CLIENT_BACKOFF_MIN_MS;
    if (backoff->next_ms > client->backoff_ms_max) backoff->next_ms = client->backoff_ms_max;
    uint64_t pause_us = (uint64_t)backoff->next_ms * 1000;
    backoff->next_ms *= 2;
    return pause_us / 2 + prng_below(&client->prng, pause_us / 2 + 1);
}

/* ---- registration ---- */

struct placement_uuid placement_uuid_new(void) {
    struct placement_uuid uuid;
    uint64_t halves[2] = {prng_seed_from_system(), prng_seed_from_system()};
    _Static_assert(sizeof(halves) == sizeof(uuid.bytes), "a uuid is two random words");
    memcpy(uuid.bytes, halves, sizeof(uuid.bytes));
    return uuid;
}

static void finish_registration(struct placement_client *client, enum status status,
                                struct slice text) {
    placement_registered_fn *done = client->registered;
    client->registered = NULL;
    done(client->registered_ctx, status, text, &client->identity);
}

static void register_later(struct placement_client *client, enum status status, struct slice text,
                           uint64_t pause_us) {
    uint64_t now_us = rpc_loop_now_us(client->loop);
    if (!client->register_logged_us ||
        now_us - client->register_logged_us >= PLACEMENT_CLIENT_LOG_PAUSE_US) {
        client->register_logged_us = now_us;
        log_warn("placement_waiting", "what=registration member=%s status=%s reason=\"%.*s\"%s",
                 rpc_client_address(client->members[client->leader]), status_name(status),
                 (int)text.len, (const char *)text.data,
                 status == STATUS_EXISTS ? "" : " hint=\"is flotilla placement running there?\"");
    }
    rpc_timer_start(client->loop, &client->register_timer, now_us + pause_us);
}

/* Whether a refusal may pass by itself. */
static bool may_pass(struct placement_client *client, enum status status, uint32_t retry_after_ms) {
    if (placement_ask_elsewhere(status)) return true;
    if (status != STATUS_EXISTS || !retry_after_ms) return false;
    uint64_t now_us = rpc_loop_now_us(client->loop);
    if (!client->register_exists_us) client->register_exists_us = now_us;
    return now_us - client->register_exists_us < EXISTS_PATIENCE_US;
}

static enum placement_verdict on_registered(void *ctx, enum status status, struct slice text,
                                            struct slice response, bool last) {
    struct placement_client *client = ctx;
    struct arena arena;
    arena_init(&arena, 4096);
    ProtobufCMessage *message = NULL;
    const Flotilla__V1__RegisterNodeResponse *answer = NULL;
    uint32_t retry_after_ms = 0;
    enum placement_verdict verdict = PLACEMENT_DONE;
    if (!status) {
        status = placement_client_read(
            &arena, &flotilla__v1__register_node_response__descriptor, response,
            offsetof(Flotilla__V1__RegisterNodeResponse, outcome), &message, &text);
        answer = (const Flotilla__V1__RegisterNodeResponse *)(const void *)message;
        if (answer && answer->outcome) retry_after_ms = answer->outcome->retry_after_ms;
    }
    if (!status) {
        client->identity.cluster_id = answer->cluster_id;
        client->identity.node_id = answer->node_id;
        placement_oracle_start(client);
        finish_registration(client, STATUS_OK, SLICE_EMPTY);
    } else if (may_pass(client, status, retry_after_ms)) {
        if (placement_ask_elsewhere(status)) verdict = PLACEMENT_NEXT;
        uint64_t pause_us = placement_backoff_us(client, &client->register_backoff);
        if (verdict == PLACEMENT_DONE || last) register_later(client, status, text, pause_us);
    } else {
        finish_registration(client, status, text);
    }
    arena_done(&arena);
    return verdict;
}

static void send_registration(struct placement_client *client) {
    Flotilla__V1__RegisterNodeRequest request = FLOTILLA__V1__REGISTER_NODE_REQUEST__INIT;
    request.cluster_id = client->identity.cluster_id;
    request.node_id = client->identity.node_id;
    request.uuid = rpc_bytes_from_slice(slice_make(client->identity.uuid.bytes, 16));
    request.incarnation = client->incarnation;
    request.synced_sequence = client->opened_sequence;
    request.address = client->advertise;
    request.version = client->version;
    placement_client_call(client, PLACEMENT_METHOD("RegisterNode"), &request.base, on_registered,
                          NULL, client);
}

uint64_t placement_client_incarnation(const struct placement_client *client) {
    return client->incarnation;
}

static void retry_registration(struct rpc_timer *timer) {
    send_registration(CONTAINER_OF(timer, struct placement_client, register_timer));
}

static char *copy_text(const char *text) {
    size_t size = strlen(text) + 1;
    return memcpy(memory_alloc(size), text, size);
}

void placement_client_register(struct placement_client *client,
                               const struct placement_registration *registration,
                               placement_registered_fn *done, void *ctx) {
    ASSERT(!client->registered && !client->advertise);
    ASSERT_CMP(registration->identity.starts, >, 0);
    client->identity = registration->identity;
    client->incarnation =
        placement_incarnation(registration->identity.starts, prng_next(&client->prng));
    client->opened_sequence = registration->synced_sequence;
    client->advertise = copy_text(registration->advertise);
    client->version = copy_text(registration->version);
    client->registered = done;
    client->registered_ctx = ctx;
    send_registration(client);
}
