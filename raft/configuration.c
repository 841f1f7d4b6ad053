#include "raft/configuration.h"

#include "base/assert.h"
#include "base/memory.h"

enum raft_conf_step raft_conf_change_step(const struct raft_conf_change *change) {
    if (change->count == 0) return RAFT_CONF_LEAVE_JOINT;
    if (change->count > 1 || change->transition != RAFT_TRANSITION_AUTO) {
        return RAFT_CONF_ENTER_JOINT;
    }
    return RAFT_CONF_SIMPLE;
}

bool raft_conf_change_auto_leave(const struct raft_conf_change *change) {
    return change->transition != RAFT_TRANSITION_EXPLICIT;
}

bool raft_conf_state_joint(const struct raft_conf_state *conf) {
    return conf->voters_outgoing.count > 0;
}

bool raft_conf_state_is_voter(const struct raft_conf_state *conf, uint64_t id) {
    return raft_id_set_has(&conf->voters, id) || raft_id_set_has(&conf->voters_outgoing, id);
}

bool raft_conf_state_is_singleton(const struct raft_conf_state *conf) {
    return conf->voters.count == 1 && !raft_conf_state_joint(conf);
}

static bool add_all(struct raft_id_set *to, const struct raft_id_set *from) {
    for (uint32_t at = 0; at < from->count; at++) {
        if (!raft_id_set_add(to, from->ids[at])) return false;
    }
    return true;
}

static bool collect_members(const struct raft_conf_state *conf, struct raft_id_set *ret_members) {
    *ret_members = conf->voters;
    return add_all(ret_members, &conf->voters_outgoing) && add_all(ret_members, &conf->learners);
}

void raft_conf_state_members(const struct raft_conf_state *conf, struct raft_id_set *ret_members) {
    bool fits = collect_members(conf, ret_members);
    ASSERT(fits);
}

bool raft_conf_state_valid(const struct raft_conf_state *conf) {
    const struct raft_id_set *sets[] = {&conf->voters, &conf->voters_outgoing, &conf->learners,
                                        &conf->learners_next};
    for (size_t at = 0; at < sizeof(sets) / sizeof(sets[0]); at++) {
        if (!raft_id_set_valid(sets[at])) return false;
    }
    struct raft_id_set members;
    if (!collect_members(conf, &members)) return false;
    for (uint32_t at = 0; at < conf->learners.count; at++) {
        if (raft_conf_state_is_voter(conf, conf->learners.ids[at])) return false;
    }
    for (uint32_t at = 0; at < conf->learners_next.count; at++) {
        uint64_t id = conf->learners_next.ids[at];
        if (!raft_id_set_has(&conf->voters_outgoing, id)) return false;
        if (raft_id_set_has(&conf->voters, id)) return false;
    }
    if (raft_conf_state_joint(conf)) return conf->voters.count > 0;
    return !conf->auto_leave;
}

/* ---- single changes, on the incoming half ---- */

static bool start_tracking(struct raft_conf_edit *edit, uint64_t id) {
    if (raft_id_set_has(&edit->members, id)) return true;
    return raft_id_set_add(&edit->members, id) && raft_id_set_add(&edit->fresh, id);
}

static bool make_voter(struct raft_conf_edit *edit, uint64_t id) {
    raft_id_set_remove(&edit->conf.learners, id);
    raft_id_set_remove(&edit->conf.learners_next, id);
    return start_tracking(edit, id) && raft_id_set_add(&edit->conf.voters, id);
}

static bool make_learner(struct raft_conf_edit *edit, uint64_t id) {
    if (raft_id_set_has(&edit->conf.learners, id)) return true;
    raft_id_set_remove(&edit->conf.voters, id);
    if (!start_tracking(edit, id)) return false;
    if (raft_id_set_has(&edit->conf.voters_outgoing, id)) {
        return raft_id_set_add(&edit->conf.learners_next, id);
    }
    return raft_id_set_add(&edit->conf.learners, id);
}

static void remove_member(struct raft_conf_edit *edit, uint64_t id) {
    raft_id_set_remove(&edit->conf.voters, id);
    raft_id_set_remove(&edit->conf.learners, id);
    raft_id_set_remove(&edit->conf.learners_next, id);
    /* A voter of the outgoing half is followed until the joint configuration is left. */
    if (raft_id_set_has(&edit->conf.voters_outgoing, id)) return;
    raft_id_set_remove(&edit->members, id);
    raft_id_set_remove(&edit->fresh, id);
}

static enum status apply_changes(struct raft_conf_edit *edit,
                                 const struct raft_conf_change *change) {
    for (uint32_t at = 0; at < change->count; at++) {
        uint64_t id = change->changes[at].id;
        bool fits = true;
        if (id == RAFT_NO_REPLICA) continue; /* a change its owner turned into nothing */
        switch (change->changes[at].kind) {
        case RAFT_CONF_ADD_VOTER:
            fits = make_voter(edit, id);
            break;
        case RAFT_CONF_ADD_LEARNER:
            fits = make_learner(edit, id);
            break;
        case RAFT_CONF_REMOVE:
            remove_member(edit, id);
            break;
        case RAFT_CONF_UPDATE:
            break;
        default:
            return STATUS_INVALID;
        }
        if (!fits) return STATUS_TOO_LARGE;
    }
    return edit->conf.voters.count > 0 ? STATUS_OK : STATUS_INVALID;
}

/* ---- whole steps ---- */

static struct raft_conf_edit edit_of(const struct raft_conf_state *conf) {
    struct raft_conf_edit edit = {.conf = *conf};
    raft_conf_state_members(conf, &edit.members);
    return edit;
}

static uint32_t count_missing(const struct raft_id_set *in, const struct raft_id_set *from) {
    uint32_t missing = 0;
    for (uint32_t at = 0; at < in->count; at++) {
        missing += !raft_id_set_has(from, in->ids[at]);
    }
    return missing;
}

enum status raft_conf_simple(const struct raft_conf_state *conf,
                             const struct raft_conf_change *change,
                             struct raft_conf_edit *ret_edit) {
    if (raft_conf_state_joint(conf)) return STATUS_INVALID;
    struct raft_conf_edit edit = edit_of(conf);
    enum status status = apply_changes(&edit, change);
    if (status != STATUS_OK) return status;
    uint32_t changed = count_missing(&conf->voters, &edit.conf.voters) +
                       count_missing(&edit.conf.voters, &conf->voters);
    if (changed > 1) return STATUS_INVALID;
    *ret_edit = edit;
    return STATUS_OK;
}

enum status raft_conf_enter_joint(const struct raft_conf_state *conf,
                                  const struct raft_conf_change *change, bool auto_leave,
                                  struct raft_conf_edit *ret_edit) {
    if (raft_conf_state_joint(conf) || conf->voters.count == 0) return STATUS_INVALID;
    struct raft_conf_edit edit = edit_of(conf);
    edit.conf.voters_outgoing = conf->voters;
    enum status status = apply_changes(&edit, change);
    if (status != STATUS_OK) return status;
    edit.conf.auto_leave = auto_leave;
    *ret_edit = edit;
    return STATUS_OK;
}

enum status raft_conf_leave_joint(const struct raft_conf_state *conf,
                                  struct raft_conf_edit *ret_edit) {
    if (!raft_conf_state_joint(conf)) return STATUS_INVALID;
    struct raft_conf_edit edit = {.conf = *conf};
    bool fits = add_all(&edit.conf.learners, &conf->learners_next);
    ASSERT(fits);
    edit.conf.learners_next.count = 0;
    edit.conf.voters_outgoing.count = 0;
    edit.conf.auto_leave = false;
    raft_conf_state_members(&edit.conf, &edit.members);
    *ret_edit = edit;
    return STATUS_OK;
}

enum status raft_conf_apply(const struct raft_conf_state *conf,
                            const struct raft_conf_change *change,
                            struct raft_conf_edit *ret_edit) {
    switch (raft_conf_change_step(change)) {
    case RAFT_CONF_LEAVE_JOINT:
        return raft_conf_leave_joint(conf, ret_edit);
    case RAFT_CONF_ENTER_JOINT:
        return raft_conf_enter_joint(conf, change, raft_conf_change_auto_leave(change), ret_edit);
    case RAFT_CONF_SIMPLE:
        break;
    }
    return raft_conf_simple(conf, change, ret_edit);
}

/* ---- progress ---- */

struct raft_progress *raft_progress_find(const struct raft_progress_set *set, uint64_t id) {
    for (uint32_t at = 0; at < set->count; at++) {
        if (set->items[at].id == id) return &set->items[at];
    }
    return NULL;
}

void raft_progress_set_follow(struct raft_progress_set *set, const struct raft_conf_edit *edit,
                              uint64_t last_index, const struct raft_progress_limits *limits) {
    uint32_t count = edit->members.count;
    struct raft_progress *items = count ? memory_zalloc(count * sizeof(*items)) : NULL;
    for (uint32_t at = 0; at < count; at++) {
        uint64_t id = edit->members.ids[at];
        struct raft_progress *known = raft_progress_find(set, id);
        if (known && !raft_id_set_has(&edit->fresh, id)) {
            items[at] = *known;
            known->inflights.ring = NULL; /* it moved */
        } else {
            /* Optimistic: a replica that got the state some other way matches at once. */
            raft_progress_init(&items[at], id, last_index ? last_index : 1, limits);
        }
        items[at].learner = raft_id_set_has(&edit->conf.learners, id);
    }
    raft_progress_set_done(set);
    *set = (struct raft_progress_set){items, count};
}

void raft_progress_set_done(struct raft_progress_set *set) {
    for (uint32_t at = 0; at < set->count; at++) {
        raft_progress_done(&set->items[at]);
    }
    memory_free(set->items);
    *set = (struct raft_progress_set){0};
}
