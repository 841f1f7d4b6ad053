/* Bytes of a command (varints are LEB128, fixed integers little-endian):
 *
 *   version u8 = 2 ‖ kind u8 ‖ body
 *
 *   FORM      cluster id u64 ‖ replication factor varint ‖ birth nodes varint ‖
 *             split keys varint count ‖ (varint length ‖ bytes)*
 *   REGISTER  cluster id u64 ‖ node id varint ‖ uuid 16 bytes ‖ incarnation u64 ‖
 *             address varint length ‖ bytes ‖ version likewise ‖
 *             synced sequence varint (0 in version 1, which has none)
 *   BIRTH     count varint ‖ node id varint*; empty in version 1: all who are registered
 *   CONFIRM   node id varint ‖ count varint ‖ range id varint*
 *   EXTEND    bound u64
 *   SYNCED    count varint ‖ (node id varint ‖ synced sequence varint)* */
#include "placement/command.h"

#include "base/assert.h"

void placement_command_encode(struct buf *out, const struct placement_command *command) {
    encode_u8(out, PLACEMENT_COMMAND_VERSION);
    encode_u8(out, (uint8_t)command->kind);
    switch (command->kind) {
    case PLACEMENT_FORM:
        encode_u64(out, command->form.cluster_id);
        encode_varint(out, command->form.replication_factor);
        encode_varint(out, command->form.birth_nodes);
        encode_varint(out, command->form.split_key_count);
        buf_append(out, command->form.split_keys);
        return;
    case PLACEMENT_REGISTER:
        encode_u64(out, command->registration.cluster_id);
        encode_varint(out, command->registration.node_id);
        buf_append(out, slice_make(command->registration.uuid.bytes, 16));
        encode_u64(out, command->registration.incarnation);
        encode_bytes(out, command->registration.address);
        encode_bytes(out, command->registration.version);
        encode_varint(out, command->registration.synced_sequence);
        return;
    case PLACEMENT_BIRTH:
        encode_varint(out, command->birth.node_count);
        buf_append(out, command->birth.node_ids);
        return;
    case PLACEMENT_CONFIRM:
        encode_varint(out, command->confirm.node_id);
        encode_varint(out, command->confirm.range_count);
        buf_append(out, command->confirm.range_ids);
        return;
    case PLACEMENT_EXTEND:
        encode_u64(out, command->timestamp_bound);
        return;
    case PLACEMENT_SYNCED:
        encode_varint(out, command->synced.node_count);
        buf_append(out, command->synced.nodes);
        return;
    }
    ASSERT(!"unknown placement command");
}

static struct slice left_of(const struct decoder *in) {
    return slice_make(in->at, decoder_left(in));
}

static void decode_form(struct decoder *in, struct placement_form *form) {
    form->cluster_id = decode_u64(in);
    uint64_t replication_factor = decode_varint(in), birth_nodes = decode_varint(in);
    uint64_t split_keys = decode_varint(in);
    form->split_keys = left_of(in);
    if (!form->cluster_id || !replication_factor || replication_factor > PLACEMENT_REPLICAS_MAX ||
        birth_nodes < replication_factor || birth_nodes > PLACEMENT_NODES_MAX ||
        split_keys >= PLACEMENT_INITIAL_RANGES_MAX)
        in->failed = true;
    form->replication_factor = (uint32_t)replication_factor;
    form->birth_nodes = (uint32_t)birth_nodes;
    form->split_key_count = (uint32_t)split_keys;
    struct slice previous = SLICE_EMPTY;
    for (uint64_t i = 0; i < split_keys && !in->failed; i++) {
        struct slice key = decode_bytes(in);
        if (key.len > PLACEMENT_KEY_BYTES_MAX || slice_compare(key, previous) <= 0)
            in->failed = true;
        previous = key;
    }
}

static void decode_registration(struct decoder *in, uint8_t version,
                                struct placement_register_request *request) {
    request->cluster_id = decode_u64(in);
    request->node_id = decode_varint(in);
    struct slice uuid = decode_fixed(in, sizeof(request->uuid.bytes));
    if (uuid.len == sizeof(request->uuid.bytes))
        memcpy(request->uuid.bytes, uuid.data, sizeof(request->uuid.bytes));
    request->incarnation = decode_u64(in);
    request->address = decode_bytes(in);
    request->version = decode_bytes(in);
    if (version > 1) request->synced_sequence = decode_varint(in);
    if (!request->incarnation || !request->address.len ||
        request->address.len > PLACEMENT_ADDRESS_BYTES_MAX ||
        request->version.len > PLACEMENT_VERSION_BYTES_MAX)
        in->failed = true;
}

static void decode_synced(struct decoder *in, struct placement_command *command) {
    uint64_t count = decode_varint(in), last = 0;
    command->synced.nodes = left_of(in);
    if (count > PLACEMENT_NODES_MAX) in->failed = true;
    command->synced.node_count = (uint32_t)count;
    for (uint64_t i = 0; i < count && !in->failed; i++) {
        uint64_t node_id = decode_varint(in);
        (void)decode_varint(in); /* any sequence may be */
        if (node_id <= last) in->failed = true;
        last = node_id;
    }
}

/* No ids: version 1 gave the ranges to everybody who was registered. */
static void decode_birth(struct decoder *in, struct placement_command *command) {
    uint64_t count = decode_varint(in), last = 0;
    command->birth.node_ids = left_of(in);
    if (count > PLACEMENT_NODES_MAX) in->failed = true;
    command->birth.node_count = (uint32_t)count;
    for (uint64_t i = 0; i < count && !in->failed; i++) {
        uint64_t node_id = decode_varint(in);
        if (node_id <= last) in->failed = true;
        last = node_id;
    }
}

static void decode_confirm(struct decoder *in, struct placement_command *command) {
    command->confirm.node_id = decode_varint(in);
    command->confirm.range_count = decode_varint(in);
    command->confirm.range_ids = left_of(in);
    if (!command->confirm.node_id) in->failed = true;
    for (uint64_t i = 0; i < command->confirm.range_count && !in->failed; i++) {
        if (!decode_varint(in)) in->failed = true;
    }
}

enum status placement_command_decode(struct slice bytes, struct placement_command *ret_command) {
    struct decoder in = decoder_make(bytes);
    struct placement_command command = {0};
    uint8_t version = decode_u8(&in);
    if (!in.failed && version > PLACEMENT_COMMAND_VERSION) return STATUS_UNSUPPORTED;
    command.kind = (enum placement_command_kind)decode_u8(&in);
    if (in.failed || version == 0) return STATUS_CORRUPTION;
    switch (command.kind) {
    case PLACEMENT_FORM:
        decode_form(&in, &command.form);
        break;
    case PLACEMENT_REGISTER:
        decode_registration(&in, version, &command.registration);
        break;
    case PLACEMENT_BIRTH:
        if (version > 1) decode_birth(&in, &command);
        break;
    case PLACEMENT_CONFIRM:
        decode_confirm(&in, &command);
        break;
    case PLACEMENT_EXTEND:
        command.timestamp_bound = decode_u64(&in);
        break;
    case PLACEMENT_SYNCED:
        decode_synced(&in, &command);
        break;
    default:
        return STATUS_CORRUPTION;
    }
    if (!decoder_finished(&in)) return STATUS_CORRUPTION;
    *ret_command = command;
    return STATUS_OK;
}
