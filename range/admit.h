/* Requests of clients: every check before anything is proposed or read. */
#ifndef FLOTILLA_RANGE_ADMIT_H
#define FLOTILLA_RANGE_ADMIT_H

struct range_item;
struct range_worker;

void range_admit_frame(struct range_worker *worker, struct range_item *item);

#endif
