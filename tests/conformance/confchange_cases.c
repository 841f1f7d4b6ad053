/* Membership files: `simple`, `enter-joint`, `leave-joint`, on a state that starts empty and
 * carries over from case to case. */
#include "raft/configuration.h"
#include "tests/conformance/cases.h"
#include "tests/conformance/describe.h"

static void print_state(const struct raft_conf_state *conf,
                        const struct raft_progress_set *progress, struct buf *out) {
    describe_conf(out, conf);
    for (uint32_t at = 0; at < progress->count; at++) {
        const struct raft_progress *one = &progress->items[at];
        describe_progress(out, &(struct raft_progress_view){.id = one->id,
                                                            .match = one->match,
                                                            .next = one->next,
                                                            .state = RAFT_PROBE,
                                                            .learner = one->learner,
                                                            .recently_active = one->recently_active,
                                                            .paused = raft_progress_paused(one)});
    }
}

static enum status run_case(const struct conformance_case *one, const struct raft_conf_state *conf,
                            struct raft_conf_edit *ret_edit) {
    struct raft_conf_change change = {0};
    if (!parse_changes(one->input, &change)) return STATUS_INVALID;
    if (strcmp(one->command, "simple") == 0) return raft_conf_simple(conf, &change, ret_edit);
    if (strcmp(one->command, "enter-joint") == 0) {
        return raft_conf_enter_joint(conf, &change, case_flag(one, "autoleave"), ret_edit);
    }
    if (strcmp(one->command, "leave-joint") == 0) {
        return change.count ? STATUS_INVALID : raft_conf_leave_joint(conf, ret_edit);
    }
    return STATUS_UNSUPPORTED;
}

void run_confchange_file(const struct conformance_file *file, struct buf *outputs) {
    struct raft_conf_state conf = {0};
    struct raft_progress_set progress = {0};
    const struct raft_progress_limits limits = {0};
    for (size_t at = 0; at < file->count; at++) {
        struct raft_conf_edit edit;
        enum status status = run_case(&file->cases[at], &conf, &edit);
        if (status == STATUS_OK) {
            /* The log's last index is the number of cases that ran so far. */
            raft_progress_set_follow(&progress, &edit, at, &limits);
            conf = edit.conf;
            print_state(&conf, &progress, &outputs[at]);
        } else {
            buf_printf(&outputs[at], "refused: %s\n", status_text(status));
        }
    }
    raft_progress_set_done(&progress);
}
