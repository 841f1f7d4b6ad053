/* The names and keys of the hot-issuer workload, and where to cut the key space for it.
 *
 *   issuer/<NAME>/bench/exposure                  decimal text: the sum of its reservations
 *   issuer/<NAME>/bench/reservation/R-<run>-<n>   decimal text: the amount
 *
 * They lie where a user's keys of that issuer would, in the same range, but are the bench's own:
 * whatever else is under issuer/ is somebody else's. Issuer 0 is MUNI-77, the hottest. Every key of
 * an issuer shares the prefix issuer/<NAME>/, and the cuts proposed here fall between such prefixes
 * only, so that a reservation (one command on both keys) never spans two ranges. */
#ifndef FLOTILLA_BENCH_ISSUERS_H
#define FLOTILLA_BENCH_ISSUERS_H

#include "base/slice.h"
#include "base/status.h"

#define ISSUER_PREFIX "issuer/"

/* Appends the name of issuer number `issuer`. Distinct for distinct numbers. */
void issuer_append_name(struct buf *out, uint32_t issuer);
void issuer_append_prefix(struct buf *out, uint32_t issuer); /* issuer/<NAME>/ */
void issuer_append_exposure_key(struct buf *out, uint32_t issuer);
void issuer_append_reservation_key(struct buf *out, uint32_t issuer, uint64_t run, uint64_t n);

/* A key under issuer/ taken apart. Slices borrow from the key. */
struct issuer_key {
    struct slice issuer_prefix; /* issuer/<NAME>/ */
    bool own;                   /* below bench/; everything else is somebody else's */
    bool exposure, reservation; /* neither, though own: nothing that this workload writes */
    uint64_t run, n;            /* of a reservation */
};
/* INVALID: not a key of the shape issuer/<NAME>/... */
enum status issuer_parse_key(struct slice key, struct issuer_key *ret_key) MUST_CHECK;

/* Whole decimal text, as stored values are. INVALID. */
enum status issuer_parse_number(struct slice text, int64_t *ret_number) MUST_CHECK;

/* Appends ranges-1 cut keys, ascending and comma-separated, that spread `issuers` issuers evenly
 * by number over `ranges` ranges. INVALID when there are fewer issuers than ranges. */
enum status issuer_append_split_keys(struct buf *out, uint32_t issuers, uint32_t ranges) MUST_CHECK;

#endif
