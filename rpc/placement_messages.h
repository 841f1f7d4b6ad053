/* Between placement's plain structs, range/'s types and the protos of placement.proto. Inside rpc/
 * only. Everything made here lives in the arena or borrows from its source: nothing is freed. */
#ifndef FLOTILLA_RPC_PLACEMENT_MESSAGES_H
#define FLOTILLA_RPC_PLACEMENT_MESSAGES_H

#include "flotilla/v1/placement.pb-c.h"
#include "placement/messages.h"
#include "range/descriptor.h"
#include "rpc/message.h"

#define PLACEMENT_METHOD(name) "/flotilla.v1.Placement/" name

char *placement_text(struct arena *arena, struct slice text); /* NUL-terminated copy */

Flotilla__V1__PlacementOutcome *placement_outcome_to_proto(struct arena *arena, enum status status,
                                                           struct slice text,
                                                           uint32_t retry_after_ms);
Flotilla__V1__PlacementOutcome__Code placement_code_from_status(enum status status);
/* A missing outcome is OK, as proto3 has it; an unknown code is UNAVAILABLE. */
enum status placement_status_from_code(Flotilla__V1__PlacementOutcome__Code code);

Flotilla__V1__PlacementDescriptor *
placement_descriptor_to_proto(struct arena *arena, const struct placement_descriptor *from);
Flotilla__V1__PlacementDescriptor *
placement_range_descriptor_to_proto(struct arena *arena, const struct range_descriptor *from);
/* The results' bufs borrow: never grown, never freed. INVALID: too many replicas, zero ids, an
 * empty span. */
enum status placement_descriptor_from_proto(const Flotilla__V1__PlacementDescriptor *from,
                                            struct placement_descriptor *ret) MUST_CHECK;
enum status placement_range_descriptor_from_proto(const Flotilla__V1__PlacementDescriptor *from,
                                                  struct range_descriptor *ret) MUST_CHECK;

/* Borrows. INVALID, with a line in the log: no node's id, or no address that can be dialled. */
enum status placement_address_from_proto(const Flotilla__V1__PlacementNodeAddress *from,
                                         struct placement_node_address *ret) MUST_CHECK;
Flotilla__V1__PlacementNodeAddress **
placement_addresses_to_proto(struct arena *arena, const struct placement_node_address *nodes,
                             uint32_t count);

#endif
