/* Structured log: one line per event, `time level event key=value ...`, to standard error.
 *
 *   log_info("range_leader", "range=%lu replica=%lu term=%lu", ...);
 *
 * The first argument is the event's name (snake_case), the rest is printf text made of key=value
 * pairs. User keys go through log_key(), which redacts them unless --log-user-keys is set.
 * Threads: any; a line is written by one write(2). */
#ifndef FLOTILLA_BASE_LOG_H
#define FLOTILLA_BASE_LOG_H

#include "base/slice.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_NONE };

extern enum log_level log_level_current; /* set once at start-up, read anywhere */

void log_set_level(enum log_level level);
bool log_level_parse(const char *text, enum log_level *ret_level);
void log_set_user_keys(bool shown);
void log_set_fd(int fd); /* default 2 */
void log_write(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Printable form in a per-thread ring of 8 buffers: valid until the eighth next call. */
const char *log_key(struct slice user_key);
const char *
log_bytes(struct slice bytes); /* the same, never redacted: for keys that are not users' */

#define LOG_AT(level, event, ...)                                                   \
    do {                                                                            \
        if ((level) >= log_level_current) log_write((level), (event), __VA_ARGS__); \
    } while (0)
#define log_debug(event, ...) LOG_AT(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...) LOG_AT(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...) LOG_AT(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) LOG_AT(LOG_ERROR, event, __VA_ARGS__)

#endif
