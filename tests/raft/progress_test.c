#include <criterion/criterion.h>

#include "raft/progress.h"

static struct raft_progress follower(uint32_t messages_max, size_t bytes_max) {
    struct raft_progress progress;
    raft_progress_init(&progress, 2, 5, &(struct raft_progress_limits){messages_max, bytes_max});
    return progress;
}

/* The window counts messages, frees them in order, and survives wrapping around. */
Test(raft_inflights, frees_up_to_an_index_in_order) {
    struct raft_inflights window = {.messages_max = 3};
    for (uint64_t index = 1; index <= 100; index++) {
        raft_inflights_add(&window, index, 10);
        cr_assert_eq(raft_inflights_full(&window), window.count == 3);
        if (window.count == 3) raft_inflights_free_to(&window, index - 1);
        cr_assert_leq(window.count, 3);
        cr_assert_eq(window.bytes, window.count * 10);
    }
    raft_inflights_free_to(&window, 0);
    cr_assert_gt(window.count, 0, "an old answer frees nothing");
    raft_inflights_free_to(&window, 1000);
    cr_assert(window.count == 0 && window.bytes == 0);
    raft_inflights_clear(&window);
    free(window.ring);
}

/* One message may cross the limit in bytes, none after it. */
Test(raft_inflights, is_full_once_its_bytes_are_reached) {
    struct raft_inflights window = {.bytes_max = 100};
    raft_inflights_add(&window, 1, 99);
    cr_assert_not(raft_inflights_full(&window));
    raft_inflights_add(&window, 2, 500);
    cr_assert(raft_inflights_full(&window));
    raft_inflights_free_to(&window, 1);
    cr_assert(raft_inflights_full(&window));
    raft_inflights_free_to(&window, 2);
    cr_assert_not(raft_inflights_full(&window));
    free(window.ring);
}

/* An unlimited window grows while it is wrapped, without losing order. */
Test(raft_inflights, grows_while_wrapped) {
    struct raft_inflights window = {0};
    uint64_t added = 0, freed = 0;
    for (int round = 0; round < 50; round++) {
        for (int at = 0; at < 7; at++) {
            raft_inflights_add(&window, ++added, 1);
        }
        freed += 3;
        raft_inflights_free_to(&window, freed);
        cr_assert_eq(window.count, added - freed);
        cr_assert_eq(window.bytes, added - freed);
    }
    free(window.ring);
}

/* A probe sends one append and waits; an acknowledgement starts replication after what matches. */
Test(raft_progress, probes_once_then_replicates) {
    struct raft_progress progress = follower(2, 0);
    cr_assert_not(raft_progress_paused(&progress));
    raft_progress_sent_entries(&progress, 3, 30);
    cr_assert(raft_progress_paused(&progress));
    cr_assert_eq(progress.next, 5, "a probe does not run ahead");
    cr_assert(raft_progress_acked(&progress, 7, 0));
    raft_progress_become_replicate(&progress);
    cr_assert(progress.match == 7 && progress.next == 8 && !raft_progress_paused(&progress));
    raft_progress_sent_entries(&progress, 2, 20);
    cr_assert_eq(progress.next, 10);
    raft_progress_sent_entries(&progress, 1, 10);
    cr_assert(raft_progress_paused(&progress), "two messages fill the window");
    raft_progress_done(&progress);
}

/* Answers out of order or twice change nothing. */
Test(raft_progress, ignores_old_answers) {
    struct raft_progress progress = follower(0, 0);
    cr_assert(raft_progress_acked(&progress, 9, 0));
    cr_assert_not(raft_progress_acked(&progress, 9, 0));
    cr_assert_not(raft_progress_acked(&progress, 3, 0));
    raft_progress_become_replicate(&progress);
    cr_assert_not(raft_progress_rejected(&progress, 9, 2), "what matches cannot be rejected");
    raft_progress_sent_entries(&progress, 4, 1);
    cr_assert(raft_progress_rejected(&progress, 12, 10));
    cr_assert_eq(progress.next, 10);
    raft_progress_become_probe(&progress);
    cr_assert_not(raft_progress_rejected(&progress, 11, 3), "not the probe under way");
    raft_progress_done(&progress);
}

/* A rejected probe goes back to the hint, but never below what matches. */
Test(raft_progress, backs_up_to_the_hint) {
    struct raft_progress progress = follower(0, 0);
    progress.next = 100;
    raft_progress_sent_entries(&progress, 1, 1);
    cr_assert(raft_progress_rejected(&progress, 99, 40));
    cr_assert(progress.next == 41 && !raft_progress_paused(&progress));
    progress.match = 30;
    cr_assert(raft_progress_rejected(&progress, 40, 10));
    cr_assert_eq(progress.next, 31);
    raft_progress_done(&progress);
}

/* After a snapshot was sent, probing starts behind it; after it failed, from what is known. */
Test(raft_progress, probes_behind_a_snapshot_that_was_sent) {
    struct raft_progress progress = follower(0, 0);
    progress.match = 3;
    raft_progress_become_snapshot(&progress, 50);
    cr_assert(raft_progress_paused(&progress) && progress.next == 51);
    raft_progress_become_probe(&progress);
    cr_assert_eq(progress.next, 51);
    raft_progress_become_snapshot(&progress, 60);
    progress.pending_snapshot = 0;
    raft_progress_become_probe(&progress);
    cr_assert_eq(progress.next, 4);
    raft_progress_done(&progress);
}

/* A commit index is worth telling while it can move the follower's own. */
Test(raft_progress, tells_a_commit_index_only_while_it_helps) {
    struct raft_progress progress = follower(0, 0);
    raft_progress_acked(&progress, 9, 0);
    raft_progress_become_replicate(&progress);
    progress.commit_sent = 5;
    cr_assert(raft_progress_can_bump_commit(&progress, 9));
    cr_assert_not(raft_progress_can_bump_commit(&progress, 5));
    progress.commit_sent = 9;
    cr_assert_not(raft_progress_can_bump_commit(&progress, 12), "it was told all that it has");
    raft_progress_done(&progress);
}
