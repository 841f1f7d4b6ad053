#include "placement/state.h"

#include <criterion/criterion.h>

#include "placement/birth.h"
#include "storage/memory_engine.h"

static struct storage_engine *engine;
static struct storage_batch *batch;
static struct placement_state state;

static void setup(void) {
    engine = memory_engine_new();
    batch = storage_batch_new(engine);
    placement_state_init(&state);
}

static void teardown(void) {
    placement_state_check(&state);
    placement_state_done(&state);
    storage_batch_free(batch);
    storage_close(engine);
}

TestSuite(placement_state, .init = setup, .fini = teardown);

static struct placement_outcome apply(const struct placement_command *command) {
    struct placement_outcome outcome = {0};
    placement_state_apply(&state, command, batch, &outcome);
    placement_state_check(&state);
    return outcome;
}

static void form(uint64_t cluster_id, uint32_t replication_factor, uint32_t birth_nodes,
                 uint32_t ranges) {
    struct buf keys = {0};
    placement_even_split_keys(&keys, ranges);
    struct placement_command command = {.kind = PLACEMENT_FORM};
    command.form = (struct placement_form){cluster_id, replication_factor, birth_nodes, ranges - 1,
                                           slice_from_buf(&keys)};
    (void)apply(&command); /* the tests look at the state */
    buf_done(&keys);
}

static struct placement_command registration(uint64_t node_id, uint8_t uuid, const char *address) {
    struct placement_command command = {.kind = PLACEMENT_REGISTER};
    command.registration = (struct placement_register_request){
        .cluster_id = node_id ? 77 : 0,
        .node_id = node_id,
        .incarnation = 5,
        .address = slice_from_text(address),
        .version = slice_from_text("1"),
    };
    memset(command.registration.uuid.bytes, uuid, 16);
    return command;
}

/* What an engine had synced when its node registered is known from then on, not from the first
 * heartbeat. */
Test(placement_state, remembers_what_was_synced_at_registration) {
    form(77, 1, 1, 1);
    struct placement_command command = registration(0, 1, "10.0.0.1:1");
    command.registration.synced_sequence = 500;
    cr_assert_eq(apply(&command).status, STATUS_OK);
    command.registration.node_id = state.nodes[0].node_id;
    command.registration.cluster_id = 77;
    command.registration.incarnation += UINT64_C(1) << 32; /* the next start, whatever counts it */
    command.registration.synced_sequence = 499;
    cr_expect_eq(apply(&command).status, STATUS_MISMATCH);
    command.registration.synced_sequence = 500;
    cr_expect_eq(apply(&command).status, STATUS_OK);
}

static void populate(uint32_t nodes) {
    for (uint32_t i = 1; i <= nodes; i++) {
        struct placement_command command = registration(0, (uint8_t)i, "10.0.0.1:1");
        cr_assert_eq(apply(&command).status, STATUS_OK);
    }
}

static void write_batch(void) {
    cr_assert_eq(storage_write(engine, batch, STORAGE_SYNCED), STATUS_OK);
    storage_batch_clear(batch);
}

/* Two first leaders may both propose an id: the log decides, for ever. */
Test(placement_state, the_first_cluster_id_stays) {
    form(77, 1, 1, 4);
    form(78, 3, 3, 8);
    cr_assert_eq(state.cluster_id, 77);
    cr_assert_eq(state.replication_factor, 1);
    cr_assert_eq(state.split_key_count, 3);
}

/* A retried registration must not make a second node of the same directory. */
Test(placement_state, the_same_uuid_gets_the_same_id) {
    form(77, 1, 1, 1);
    struct placement_command command = registration(0, 9, "a:1"), other = registration(0, 8, "b:1");
    cr_assert_eq(apply(&command).node_id, 1);
    cr_assert_eq(apply(&other).node_id, 2);
    cr_assert_eq(apply(&command).node_id, 1);
    cr_assert_eq(state.node_count, 2);
}

/* Two directories that claim one id would be two nodes taken for one. */
Test(placement_state, an_id_is_refused_to_another_uuid) {
    form(77, 1, 1, 1);
    struct placement_command owner = registration(0, 9, "a:1"), thief = registration(1, 8, "b:1");
    cr_assert_eq(apply(&owner).node_id, 1);
    cr_assert_eq(apply(&thief).status, STATUS_EXISTS);
    struct placement_command unknown = registration(44, 7, "c:1");
    cr_assert_eq(apply(&unknown).status, STATUS_MISMATCH);
    cr_assert_eq(state.node_count, 1);
}

/* A node of another cluster must hear both ids and the way out. */
Test(placement_state, another_cluster_is_refused_by_name) {
    form(77, 1, 1, 1);
    struct placement_command command = registration(1, 9, "a:1");
    command.registration.cluster_id = 0xabc;
    struct buf text = {0};
    cr_assert_eq(placement_state_check_registration(&state, &command.registration, 0, &text),
                 STATUS_MISMATCH);
    buf_append_byte(&text, 0);
    cr_assert(strstr((char *)text.data, "0000000000000abc"));
    cr_assert(strstr((char *)text.data, "000000000000004d"));
    cr_assert(strstr((char *)text.data, "--placement"));
    buf_done(&text);
}

/* The address book's version is what tells nodes to fetch it: it grows only with addresses. */
Test(placement_state, the_address_book_version_follows_addresses) {
    form(77, 1, 1, 1);
    struct placement_command command = registration(0, 9, "a:1"), moved = registration(1, 9, "b:1");
    (void)apply(&command);
    uint64_t version = state.book_version;
    (void)apply(&command);
    cr_assert_eq(state.book_version, version);
    (void)apply(&moved);
    cr_assert_gt(state.book_version, version);
    version = state.book_version;
    moved.registration.incarnation = placement_incarnation(1, 5);
    (void)apply(&moved);
    cr_assert_gt(state.book_version, version, "and with processes: older ones are not to be heard");
}

/* Birth covers the key space once, spreads replicas and preferred leaders evenly. */
Test(placement_state, birth_is_even_and_happens_once) {
    form(77, 3, 4, 16);
    struct placement_command birth = {.kind = PLACEMENT_BIRTH};
    populate(3);
    cr_assert_neq(apply(&birth).status, STATUS_OK, "not before enough nodes are there");
    populate(4);
    cr_assert_eq(apply(&birth).status, STATUS_OK);
    cr_assert_eq(apply(&birth).status, STATUS_EXISTS);
    cr_assert_eq(state.range_count, 16);
    cr_assert_eq(state.next_range_id, 17);
    uint32_t leaders[5] = {0}, replicas[5] = {0};
    for (uint32_t i = 0; i < 16; i++) {
        leaders[state.ranges[i].descriptor.replicas[0].node_id]++;
        for (uint32_t j = 0; j < 3; j++)
            replicas[state.ranges[i].descriptor.replicas[j].node_id]++;
    }
    for (uint32_t node = 1; node <= 4; node++) {
        cr_assert_eq(leaders[node], 4);
        cr_assert_eq(replicas[node], 12);
    }
}

/* Only those who were alive get ranges; ids that nobody has make no cluster. */
Test(placement_state, birth_is_among_the_nodes_that_it_names) {
    struct buf ids = {0};
    struct placement_command birth = {.kind = PLACEMENT_BIRTH};
    form(77, 3, 3, 8);
    populate(5);
    const uint64_t wrong[] = {2, 4, 9}, right[] = {1, 2, 4};
    for (uint32_t i = 0; i < 3; i++)
        encode_varint(&ids, wrong[i]);
    birth.birth.node_ids = slice_from_buf(&ids);
    birth.birth.node_count = 2;
    cr_assert_eq(apply(&birth).status, STATUS_UNAVAILABLE, "too few");
    birth.birth.node_count = 3;
    cr_assert_eq(apply(&birth).status, STATUS_UNAVAILABLE, "nobody is node 9");
    buf_clear(&ids);
    for (uint32_t i = 0; i < 3; i++)
        encode_varint(&ids, right[i]);
    birth.birth.node_ids = slice_from_buf(&ids);
    cr_assert_eq(apply(&birth).status, STATUS_OK);
    for (uint32_t i = 0; i < 8; i++)
        for (uint32_t j = 0; j < 3; j++) {
            uint64_t node_id = state.ranges[i].descriptor.replicas[j].node_id;
            cr_assert(node_id == 1 || node_id == 2 || node_id == 4);
        }
    buf_done(&ids);
}

/* A replica that was made once must never be ordered again: it would come back without its vote. */
Test(placement_state, confirmation_counts_once_and_only_for_own_replicas) {
    form(77, 1, 2, 2);
    populate(2);
    struct placement_command birth = {.kind = PLACEMENT_BIRTH};
    (void)apply(&birth);
    struct buf ids = {0};
    encode_varint(&ids, 1);
    encode_varint(&ids, 2);
    encode_varint(&ids, 900);
    struct placement_command confirm = {.kind = PLACEMENT_CONFIRM};
    confirm.confirm.node_id = state.ranges[0].descriptor.replicas[0].node_id;
    confirm.confirm.range_count = 3;
    confirm.confirm.range_ids = slice_from_buf(&ids);
    (void)apply(&confirm);
    cr_assert_eq(state.unconfirmed, 1);
    cr_assert_eq(state.ranges[0].confirmed, 1);
    cr_assert_eq(state.ranges[1].confirmed, 0);
    (void)apply(&confirm);
    cr_assert_eq(state.unconfirmed, 1);
    buf_done(&ids);
}

/* The bound is what keeps timestamps from going back. */
Test(placement_state, the_timestamp_bound_never_goes_back) {
    struct placement_command extend = {.kind = PLACEMENT_EXTEND, .timestamp_bound = 100};
    (void)apply(&extend);
    extend.timestamp_bound = 50;
    (void)apply(&extend);
    cr_assert_eq(state.timestamp_bound, 100);
}

static struct buf snapshot_of(const struct placement_state *of) {
    struct buf bytes = {0};
    placement_state_snapshot(of, &bytes);
    return bytes;
}

/* What is written record by record, as a snapshot, and what is in memory must be the same state. */
Test(placement_state, records_and_snapshots_give_the_state_back) {
    form(77, 3, 3, 10);
    for (uint32_t step = 0; step < 3; step++) {
        if (step == 1) populate(4);
        if (step == 2) {
            struct placement_command birth = {.kind = PLACEMENT_BIRTH};
            cr_assert_eq(apply(&birth).status, STATUS_OK);
        }
        write_batch();
        struct buf expected = snapshot_of(&state);
        struct placement_state loaded, restored;
        placement_state_init(&loaded);
        placement_state_init(&restored);
        cr_assert_eq(placement_state_load(&loaded, engine), STATUS_OK);
        cr_assert_eq(placement_state_restore(&restored, slice_from_buf(&expected)), STATUS_OK);
        placement_state_check(&loaded);
        placement_state_check(&restored);
        struct buf from_records = snapshot_of(&loaded), from_snapshot = snapshot_of(&restored);
        cr_assert(slice_equal(slice_from_buf(&from_records), slice_from_buf(&expected)));
        cr_assert(slice_equal(slice_from_buf(&from_snapshot), slice_from_buf(&expected)));
        placement_state_done(&loaded);
        placement_state_done(&restored);
        buf_done(&from_records);
        buf_done(&from_snapshot);
        buf_done(&expected);
    }
}

/* A member that installs a snapshot must not keep records of its own past. */
Test(placement_state, replacing_records_leaves_nothing_behind) {
    form(77, 1, 2, 4);
    populate(2);
    write_batch();
    struct placement_state other;
    placement_state_init(&other);
    placement_state_replace_records(&other, batch);
    write_batch();
    struct placement_state loaded;
    placement_state_init(&loaded);
    cr_assert_eq(placement_state_load(&loaded, engine), STATUS_OK);
    cr_assert_eq(loaded.cluster_id, 0);
    cr_assert_eq(loaded.node_count, 0);
    placement_state_done(&loaded);
    placement_state_done(&other);
}

/* A damaged snapshot is refused as a whole, never half taken. */
Test(placement_state, damaged_snapshots_are_refused_or_consistent) {
    form(77, 3, 3, 5);
    populate(3);
    struct placement_command birth = {.kind = PLACEMENT_BIRTH};
    (void)apply(&birth);
    struct buf bytes = snapshot_of(&state);
    for (size_t i = 0; i < bytes.len; i++) {
        for (uint8_t flip = 1; flip; flip = (uint8_t)(flip << 1)) {
            struct placement_state restored;
            placement_state_init(&restored);
            bytes.data[i] ^= flip;
            if (!placement_state_restore(&restored, slice_from_buf(&bytes)))
                placement_state_check(&restored);
            bytes.data[i] ^= flip;
            placement_state_done(&restored);
        }
    }
    buf_done(&bytes);
}

/* ---- commands ---- */

/* Every member must read the same command from the same bytes, and nothing from any prefix. */
Test(placement_command, round_trips_and_refuses_every_prefix) {
    struct buf keys = {0}, ids = {0};
    placement_even_split_keys(&keys, 4);
    encode_varint(&ids, 3);
    encode_varint(&ids, 400);
    struct placement_command commands[6] = {
        {.kind = PLACEMENT_FORM},    registration(3, 9, "host:1"), {.kind = PLACEMENT_BIRTH},
        {.kind = PLACEMENT_CONFIRM}, {.kind = PLACEMENT_EXTEND},   {.kind = PLACEMENT_SYNCED},
    };
    struct buf synced = {0};
    encode_varint(&synced, 5);
    encode_varint(&synced, UINT64_C(1) << 50);
    commands[1].registration.synced_sequence = 1000000;
    commands[5].synced.node_count = 1;
    commands[5].synced.nodes = slice_from_buf(&synced);
    commands[0].form = (struct placement_form){77, 3, 5, 3, slice_from_buf(&keys)};
    commands[2].birth.node_count = 2;
    commands[2].birth.node_ids = slice_from_buf(&ids);
    commands[3].confirm.node_id = 2;
    commands[3].confirm.range_count = 2;
    commands[3].confirm.range_ids = slice_from_buf(&ids);
    commands[4].timestamp_bound = UINT64_C(1) << 60;
    for (uint32_t i = 0; i < 6; i++) {
        struct buf bytes = {0}, again = {0};
        struct placement_command decoded;
        placement_command_encode(&bytes, &commands[i]);
        cr_assert_eq(placement_command_decode(slice_from_buf(&bytes), &decoded), STATUS_OK);
        placement_command_encode(&again, &decoded);
        cr_assert(slice_equal(slice_from_buf(&bytes), slice_from_buf(&again)));
        for (size_t len = 0; len < bytes.len; len++)
            cr_assert_neq(placement_command_decode(slice_make(bytes.data, len), &decoded),
                          STATUS_OK);
        buf_done(&bytes);
        buf_done(&again);
    }
    buf_done(&keys);
    buf_done(&ids);
    buf_done(&synced);
}

/* What an earlier version left in the log means what it meant then. */
Test(placement_command, a_birth_of_version_1_is_everybodys) {
    const uint8_t first[] = {1, PLACEMENT_BIRTH};
    struct placement_command command;
    cr_assert_eq(placement_command_decode(slice_make(first, 2), &command), STATUS_OK);
    cr_assert_eq(command.birth.node_count, 0);
}

/* An older member must stop at what it cannot understand, and say so. */
Test(placement_command, a_newer_version_is_told_apart_from_damage) {
    const uint8_t newer[] = {PLACEMENT_COMMAND_VERSION + 1, PLACEMENT_BIRTH};
    const uint8_t unknown[] = {PLACEMENT_COMMAND_VERSION, 200};
    struct placement_command command;
    cr_assert_eq(placement_command_decode(slice_make(newer, 2), &command), STATUS_UNSUPPORTED);
    cr_assert_eq(placement_command_decode(slice_make(unknown, 2), &command), STATUS_CORRUPTION);
}

/* ---- split keys ---- */

/* Even cuts are ascending and distinct for every count, so that a form command takes them. */
Test(placement_birth, even_split_keys_ascend) {
    for (uint32_t count = 1; count <= PLACEMENT_INITIAL_RANGES_MAX; count = count * 2 + 1) {
        struct buf keys = {0};
        placement_even_split_keys(&keys, count);
        struct decoder in = decoder_make(slice_from_buf(&keys));
        struct slice previous = SLICE_EMPTY;
        for (uint32_t i = 1; i < count; i++) {
            struct slice key = decode_bytes(&in);
            cr_assert_gt(slice_compare(key, previous), 0);
            previous = key;
        }
        cr_assert(decoder_finished(&in));
        buf_done(&keys);
    }
}

/* Operators write keys as text, binary ones by escapes. */
Test(placement_birth, split_keys_are_read_with_escapes) {
    struct buf keys = {0}, error = {0};
    uint32_t count = 0;
    cr_assert_eq(placement_parse_split_keys("a\\,b,m\\\\,\\xfe\\x00", &keys, &count, &error),
                 STATUS_OK);
    cr_assert_eq(count, 3);
    struct decoder in = decoder_make(slice_from_buf(&keys));
    cr_assert(slice_equal(decode_bytes(&in), SLICE_LITERAL("a,b")));
    cr_assert(slice_equal(decode_bytes(&in), SLICE_LITERAL("m\\")));
    cr_assert(slice_equal(decode_bytes(&in), SLICE_LITERAL("\xfe\x00")));
    buf_done(&keys);
    buf_done(&error);
}

/* A mistake in the list is named, with the number of the key. */
Test(placement_birth, bad_split_keys_are_refused_by_number) {
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"a,,b", "split key 2 is empty"},      {"a,b,", "split key 3 is empty"},
        {"b,a", "split key 2 does not come"},  {"a,a", "split key 2 does not come"},
        {"a,\\q", "split key 2: a backslash"}, {"\\x1", "split key 1: a backslash"},
        {"a,b\\", "split key 2: a backslash"}, {",", "split key 1 is empty"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf keys = {0}, error = {0};
        uint32_t count = 0;
        cr_assert_eq(placement_parse_split_keys(cases[i].text, &keys, &count, &error),
                     STATUS_INVALID, "%s", cases[i].text);
        buf_append_byte(&error, 0);
        cr_assert(strstr((char *)error.data, cases[i].says), "%s: %s", cases[i].text,
                  (char *)error.data);
        buf_done(&keys);
        buf_done(&error);
    }
}
