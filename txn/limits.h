/* Limits of keys, values and commands (DESIGN.md, "Limits"): checked, documented, stated in errors.
 */
#ifndef FLOTILLA_TXN_LIMITS_H
#define FLOTILLA_TXN_LIMITS_H

#define TXN_KEY_BYTES_MAX 4096u
/* A bound of an interval may be the smallest key behind the longest one. */
#define TXN_BOUND_BYTES_MAX (TXN_KEY_BYTES_MAX + 1u)
#define TXN_VALUE_BYTES_MAX (1024u * 1024u)
#define TXN_REQUEST_ID_BYTES_MAX 64u
#define TXN_COMMAND_PARTS_MAX 10000u /* guards plus operations */
#define TXN_COMMAND_BYTES_MAX (10u * 1024u * 1024u)
/* Work of one command, in steps: every guard and operation is one, an interval is
 * TXN_INTERVAL_STEPS more, each key that lies in it and is looked at one, and each TXN_STEP_BYTES
 * of a value that any of them looks at one more. All replicas do it while everybody else of their
 * worker waits, so it is bounded; being counted in what the command finds, not in time, the bound
 * refuses the same commands everywhere. It is part of what a command means: another figure is
 * another version of the format (command.c). */
#define TXN_COMMAND_STEPS_MAX 20000u
#define TXN_INTERVAL_STEPS 16u
#define TXN_STEP_BYTES 1024u
/* Request records are honoured for this long, by commit timestamps (so identically on every
 * replica). */
#define TXN_REQUEST_WINDOW_MS (24u * 60u * 60u * 1000u)

_Static_assert(TXN_COMMAND_PARTS_MAX + TXN_VALUE_BYTES_MAX / TXN_STEP_BYTES <=
                   TXN_COMMAND_STEPS_MAX,
               "as many guards and operations as there may be leave room for the largest value");

#endif
