/* The commands of placement's replicated state machine: what its log entries hold. Every member
 * evaluates them when they are applied, against the same state, and gets the same answer. */
#ifndef FLOTILLA_PLACEMENT_COMMAND_H
#define FLOTILLA_PLACEMENT_COMMAND_H

#include "placement/messages.h"

#define PLACEMENT_COMMAND_VERSION 2u

enum placement_command_kind {
    PLACEMENT_FORM = 1,     /* the cluster gets its id and settings; the first one wins */
    PLACEMENT_REGISTER = 2, /* a node gets its id, or comes back at this address */
    PLACEMENT_BIRTH = 3,    /* all initial ranges come into being; the first one wins */
    PLACEMENT_CONFIRM = 4,  /* a node has made these replicas: never tell it to make them again */
    PLACEMENT_EXTEND = 5,   /* timestamps below the bound may be handed out */
    PLACEMENT_SYNCED = 6,   /* what nodes have synced: who comes back with less has lost it */
};

struct placement_form {
    uint64_t cluster_id;
    uint32_t replication_factor, birth_nodes;
    uint32_t split_key_count;
    struct slice split_keys; /* (varint length ‖ bytes)*, ascending */
};

struct placement_command {
    enum placement_command_kind kind;
    union {
        struct placement_form form;
        struct placement_register_request registration;
        struct {
            uint64_t node_id;
            uint64_t range_count;
            struct slice range_ids; /* varint*, checked when decoded */
        } confirm;
        struct {
            uint32_t node_count;
            struct slice node_ids; /* varint*, ascending: who is alive and gets the ranges */
        } birth;
        uint64_t timestamp_bound; /* EXTEND: exclusive */
        struct {
            uint32_t node_count;
            struct slice nodes; /* (node id varint ‖ synced sequence varint)*, ids ascending */
        } synced;
    };
};

void placement_command_encode(struct buf *out, const struct placement_command *command);
/* Slices borrow from `bytes`. CORRUPTION; UNSUPPORTED: written by a newer version. */
enum status placement_command_decode(struct slice bytes,
                                     struct placement_command *ret_command) MUST_CHECK;

#endif
