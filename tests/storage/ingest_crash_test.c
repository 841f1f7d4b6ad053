/* A bulk installation interrupted at every instant that matters, on the real engine. */
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "storage/rocksdb_internal.h"
#include "tests/storage/children.h"
#include "tests/storage/harness.h"

#define CRASHED 77
#define SURVIVED 0

struct crash_plan {
    const char *directory;
    unsigned crash_at; /* the how-manieth instant; 0: never */
    unsigned reached;
    bool decided; /* in: the new content must be there */
};

static void crash_when_reached(void *ctx, enum rocksdb_ingest_step step) {
    struct crash_plan *plan = ctx;
    if (++plan->reached == plan->crash_at) _exit(CRASHED);
}

static struct storage_engine *open_hooked(struct crash_plan *plan) {
    struct rocksdb_engine_config config = {.directory = plan->directory};
    struct rocksdb_ingest_hook hook = {crash_when_reached, plan};
    struct storage_engine *engine = NULL;
    struct buf error = {0};
    CHILD_CHECK(rocksdb_engine_open_hooked(&config, &hook, &error, &engine) == STATUS_OK);
    return engine;
}

static void write_pair(struct storage_engine *engine, enum storage_family family, const char *key,
                       const char *value) {
    struct storage_batch *batch = storage_batch_new(engine);
    storage_batch_put(batch, family, TEXT(key), TEXT(value));
    CHILD_CHECK(storage_write(engine, batch, STORAGE_BUFFERED) == STATUS_OK);
    storage_batch_free(batch);
}

static int write_old_content(void *ctx) {
    struct crash_plan *plan = ctx;
    struct storage_engine *engine = child_open(plan->directory);
    write_pair(engine, STORAGE_DATA, "a", "neighbour");
    write_pair(engine, STORAGE_DATA, "c", "old");
    write_pair(engine, STORAGE_DATA, "d", "old");
    write_pair(engine, STORAGE_LOCK, "c", "old");
    write_pair(engine, STORAGE_META, "c", "old");
    write_pair(engine, STORAGE_RAFT, "state", "old");
    storage_close(engine);
    return 0;
}

static int install_new_content(void *ctx) {
    struct crash_plan *plan = ctx;
    struct storage_engine *engine = child_open(plan->directory);
    rocksdb_engine_of(engine)->ingest_hook = (struct rocksdb_ingest_hook){crash_when_reached, plan};
    struct storage_ingest *ingest = NULL;
    CHILD_CHECK(storage_ingest_new(engine, &ingest) == STATUS_OK);
    CHILD_CHECK(storage_ingest_add(ingest, STORAGE_DATA, TEXT("b"), TEXT("new")) == STATUS_OK);
    CHILD_CHECK(storage_ingest_add(ingest, STORAGE_DATA, TEXT("c"), TEXT("new")) == STATUS_OK);
    CHILD_CHECK(storage_ingest_add(ingest, STORAGE_META, TEXT("b"), TEXT("new")) == STATUS_OK);
    struct storage_batch *batch = storage_batch_new(engine);
    storage_batch_put(batch, STORAGE_RAFT, TEXT("state"), TEXT("new"));
    struct storage_span spans[] = {{STORAGE_DATA, TEXT("b"), SLICE_EMPTY},
                                   {STORAGE_LOCK, TEXT("b"), TEXT("x")},
                                   {STORAGE_META, TEXT("b"), TEXT("x")}};
    CHILD_CHECK(storage_ingest_commit(ingest, spans, 3, batch) == STATUS_OK);
    storage_ingest_free(ingest);
    storage_batch_free(batch);
    storage_close(engine);
    return SURVIVED;
}

static int reopen_and_crash(void *ctx) {
    struct crash_plan *plan = ctx;
    storage_close(open_hooked(plan));
    return SURVIVED;
}

static void expect(struct storage_engine *engine, enum storage_family family, const char *pairs) {
    struct buf seen = {0};
    struct storage_iterator *it =
        storage_iterator_new(engine, NULL, family, SLICE_EMPTY, SLICE_EMPTY);
    for (storage_iterator_seek_first(it); storage_iterator_valid(it); storage_iterator_next(it)) {
        buf_append(&seen, storage_iterator_key(it));
        buf_append_byte(&seen, '=');
        buf_append(&seen, storage_iterator_value(it));
        buf_append_byte(&seen, ' ');
    }
    CHILD_CHECK(storage_iterator_status(it) == STATUS_OK);
    storage_iterator_free(it);
    if (!slice_equal(slice_from_buf(&seen), TEXT(pairs)))
        fprintf(stderr, "expected \"%s\", there is \"%.*s\"\n", pairs, (int)seen.len,
                (const char *)seen.data);
    CHILD_CHECK(slice_equal(slice_from_buf(&seen), TEXT(pairs)));
    buf_done(&seen);
}

static void expect_no_staged_files(const char *directory) {
    char path[128];
    snprintf(path, sizeof(path), "%s/ingest", directory);
    DIR *listing = opendir(path);
    CHILD_CHECK(listing);
    for (struct dirent *entry; (entry = readdir(listing));)
        CHILD_CHECK(entry->d_name[0] == '.');
    closedir(listing);
}

static int verify_content(void *ctx) {
    struct crash_plan *plan = ctx;
    struct storage_engine *engine = child_open(plan->directory);
    if (plan->decided) {
        expect(engine, STORAGE_DATA, "a=neighbour b=new c=new ");
        expect(engine, STORAGE_LOCK, "");
        expect(engine, STORAGE_META, "b=new ");
        expect(engine, STORAGE_RAFT, "state=new ");
    } else {
        expect(engine, STORAGE_DATA, "a=neighbour c=old d=old ");
        expect(engine, STORAGE_LOCK, "c=old ");
        expect(engine, STORAGE_META, "c=old ");
        expect(engine, STORAGE_RAFT, "state=old ");
    }
    expect_no_staged_files(plan->directory);
    /* The engine goes on as if nothing had been. */
    write_pair(engine, STORAGE_DATA, "c", "later");
    expect(engine, STORAGE_DATA,
           plan->decided ? "a=neighbour b=new c=later " : "a=neighbour c=later d=old ");
    storage_close(engine);
    return 0;
}

/* STAGED, MARKED, one FAMILY for each of three, APPLIED, FINISHED. */
#define INSTANTS 7u
#define DECIDED_FROM 2u

/* Whatever the instant of the crash: the old content before the decision, the new one after it,
 * never a mixture, and no file is left behind. */
Test(rocksdb_ingest, is_atomic_at_every_crash_instant) {
    for (unsigned instant = 1; instant <= INSTANTS + 1; instant++) {
        char directory[64];
        scratch_directory(directory);
        struct crash_plan plan = {.directory = directory, .decided = instant >= DECIDED_FROM};
        cr_assert_eq(child_run(write_old_content, &plan), 0);
        plan.crash_at = instant;
        cr_assert_eq(child_run(install_new_content, &plan),
                     instant <= INSTANTS ? CRASHED : SURVIVED, "instant %u", instant);
        cr_assert_eq(child_run(verify_content, &plan), 0, "instant %u", instant);
        remove_tree(directory);
    }
}

/* The completion at open may be interrupted as well, and again, at each of its own instants. */
Test(rocksdb_ingest, is_completed_although_completing_crashes_too) {
    for (unsigned instant = DECIDED_FROM; instant < INSTANTS - 1; instant++) {
        char directory[64];
        scratch_directory(directory);
        struct crash_plan plan = {.directory = directory, .decided = true};
        cr_assert_eq(child_run(write_old_content, &plan), 0);
        plan.crash_at = instant;
        cr_assert_eq(child_run(install_new_content, &plan), CRASHED);
        /* A redo passes three families, APPLIED and FINISHED; the last one leaves nothing to redo.
         */
        for (unsigned redo = 1; redo <= 4; redo++) {
            plan.crash_at = redo;
            cr_assert_eq(child_run(reopen_and_crash, &plan), CRASHED, "instant %u redo %u", instant,
                         redo);
        }
        cr_assert_eq(child_run(verify_content, &plan), 0, "instant %u", instant);
        remove_tree(directory);
    }
}
