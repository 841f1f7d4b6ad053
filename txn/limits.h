/* Limits of keys, values and commands (DESIGN.md, "Limits"): checked, documented, stated in errors.
 */
#ifndef FLOTILLA_TXN_LIMITS_H
#define FLOTILLA_TXN_LIMITS_H

#define TXN_KEY_BYTES_MAX 4096u
#define TXN_VALUE_BYTES_MAX (1024u * 1024u)
#define TXN_REQUEST_ID_BYTES_MAX 64u
#define TXN_COMMAND_PARTS_MAX 10000u /* guards plus operations */
#define TXN_COMMAND_BYTES_MAX (10u * 1024u * 1024u)
/* Request records are honoured for this long, by commit timestamps (so identically on every
 * replica). */
#define TXN_REQUEST_WINDOW_MS (24u * 60u * 60u * 1000u)

#endif
