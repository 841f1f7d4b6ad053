/* Between the router's requests and replies and the messages of kv.proto, in both directions.
 * Inside rpc/ only. A request of any kind is handled as a PipeCall and its answer as a PipeReply; a
 * unary call's message is the one inside. Everything made here lives in the arena or borrows from
 * its source: nothing is freed. */
#ifndef FLOTILLA_RPC_KV_MESSAGES_H
#define FLOTILLA_RPC_KV_MESSAGES_H

#include "flotilla/v1/kv.pb-c.h"
#include "range/router/router.h"
#include "rpc/message.h"

typedef Flotilla__V1__PipeCall__RequestCase kv_request_case;

#define KV_METHOD(name) "/flotilla.v1.KeyValue/" name
#define KV_PIPE KV_METHOD("Pipe")

/* A method of the service and its messages. */
struct kv_method {
    const char *path;
    kv_request_case request_case;
    const ProtobufCMessageDescriptor *request, *response;
};

#define KV_METHOD_COUNT 6u
extern const struct kv_method kv_methods[KV_METHOD_COUNT];
const struct kv_method *kv_method_of(kv_request_case request_case);

/* ---- at the server ---- */
/* INVALID: `error` says what is missing or unknown; limits are checked by the router. */
enum status kv_request_from_proto(struct arena *arena, const Flotilla__V1__PipeCall *call,
                                  struct router_request *ret_request, struct buf *error) MUST_CHECK;
/* All but the id. */
void kv_reply_to_proto(struct arena *arena, kv_request_case request_case,
                       const struct router_reply *reply, Flotilla__V1__PipeReply *ret_reply);

/* ---- at the client ---- */
/* All but id and timeout_us. */
void kv_request_to_proto(struct arena *arena, const struct router_request *request,
                         Flotilla__V1__PipeCall *ret_call);
/* The answer to a request of that kind. `write_unclear`: codes that a gRPC library may have made by
 * itself do not say that a write was not done. */
void kv_reply_from_proto(struct arena *arena, kv_request_case request_case, bool write_unclear,
                         const Flotilla__V1__PipeReply *reply, struct router_reply *ret_reply);

/* A message with its defaults, in the arena: KV_NEW(arena, Flotilla__V1__Row, flotilla__v1__row).
 */
#define KV_NEW(arena, type, prefix)                          \
    __extension__({                                          \
        type *message_ = arena_alloc((arena), sizeof(type)); \
        prefix##__init(message_);                            \
        message_;                                            \
    })

/* The message inside, whichever it is; they lie in one place of the union. */
static inline ProtobufCMessage *kv_call_message(const Flotilla__V1__PipeCall *call) {
    return (ProtobufCMessage *)(void *)call->get;
}

static inline ProtobufCMessage *kv_reply_message(const Flotilla__V1__PipeReply *reply) {
    return (ProtobufCMessage *)(void *)reply->get;
}

#endif
