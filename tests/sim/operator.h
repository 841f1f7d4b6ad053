/* What an operator has asked for, and how she was answered. Shared by operator*.c only. */
#ifndef FLOTILLA_TESTS_SIM_OPERATOR_H
#define FLOTILLA_TESTS_SIM_OPERATOR_H

#include "tests/sim/rules.h"

#define ORDERS_MAX 8u
#define CHANGES_MAX 4u
#define LEDGER_VERSIONS 16u

/* A change of a range's replicas. */
struct order {
    uint64_t range_id;
    struct range_epoch epoch;
    bool nonsense; /* it may be refused whatever the range is by then */
    bool again;    /* asked for before, and nobody knows what became of it */
    uint32_t change_count;
    struct range_replica_change changes[CHANGES_MAX];
};

/* What she asked for of a version of a range, and what has to come of it. */
struct ledger_entry {
    uint64_t version;
    uint32_t asked; /* how often a change of this version was asked for */
    bool open;      /* the next version was not there, and nothing but her word would make it */
    bool refused;   /* the only one who was asked has said that nothing was proposed */
};

struct machine_order;

struct sim_operator {
    struct sim_timer timer;
    struct machine_order *orders[ORDERS_MAX];
    uint64_t acknowledged[SIM_RANGES_MAX + 1]; /* conf_version of the newest change that is done */
    struct ledger_entry ledger[SIM_RANGES_MAX + 1][LEDGER_VERSIONS]; /* by version */
    bool tidying;
};

/* operator.c */
void sim_order_note(struct sim *sim, const struct order *order, const char *whom, uint32_t number);
/* Before it is asked for. */
void sim_order_asked(struct sim *sim, const struct order *order);
/* It is: `descriptor`, which may be NULL, is what whoever did it says. */
void sim_order_done(struct sim *sim, const struct order *order,
                    const struct range_descriptor *descriptor);
/* Refused for good: the text says why. */
void sim_order_check_invalid(struct sim *sim, const struct order *order, struct slice text);
/* Whoever was asked says that nothing was proposed. */
void sim_order_refused(struct sim *sim, const struct order *order);
/* Nobody knows what became of it. The epoch sees to it that it happens once. */
void sim_order_unknown(struct sim *sim, const struct order *order);

/* operator_machines.c: asked of a node itself */
void sim_order_give(struct sim *sim, const struct order *order, struct sim_node *node);
void sim_orders_expire(struct sim *sim);
void sim_orders_free(struct sim *sim);
bool sim_range_is_ordered(const struct sim *sim, uint64_t range_id); /* 0: any */

/* operator_errands.c: asked of a router */
void sim_errand_change(struct sim *sim, const struct order *order);

#endif
