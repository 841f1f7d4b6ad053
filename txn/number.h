/* Numbers as TXN_OP_ADD reads and writes them: decimal text in one canonical form. */
#ifndef FLOTILLA_TXN_NUMBER_H
#define FLOTILLA_TXN_NUMBER_H

#include "base/slice.h"

#define TXN_NUMBER_TEXT_BYTES_MAX 20u /* -9223372036854775808 */

/* Accepts exactly what txn_number_format writes: `0`, or an optional `-` and digits of which the
 * first is not 0. No blanks, `+`, leading zeros or `-0`: a number has one text, so a guard on the
 * text is a guard on the number. False for anything else and for what does not fit in 64 bits. */
bool txn_number_parse(struct slice text, int64_t *ret_number);
/* Writes at most TXN_NUMBER_TEXT_BYTES_MAX bytes, no terminator; returns how many. */
size_t txn_number_format(int64_t number, uint8_t *text);

#endif
