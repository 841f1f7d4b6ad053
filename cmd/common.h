/* What every command does alike: options for the log, loading the configuration, telling the
 * operator what is wrong, and the ready file. */
#ifndef FLOTILLA_CMD_COMMON_H
#define FLOTILLA_CMD_COMMON_H

#include "base/config.h"
#include "base/json.h"
#include "base/log.h"

/* First member of every command's configuration struct that uses COMMON_OPTIONS. */
struct common_options {
    char *log_level;
    bool log_user_keys;
    bool batch_scheduling;
};

/* Entries for a command's option table. */
#define COMMON_OPTIONS(type)                                                                      \
    {"log-level",                                                                                 \
     CONFIG_TEXT,                                                                                 \
     offsetof(type, common.log_level),                                                            \
     "info",                                                                                      \
     "",                                                                                          \
     0,                                                                                           \
     0,                                                                                           \
     "what to log: debug, info, warn, error or none"},                                            \
        {"log-user-keys",                                                                         \
         CONFIG_BOOL,                                                                             \
         offsetof(type, common.log_user_keys),                                                    \
         "false",                                                                                 \
         "",                                                                                      \
         0,                                                                                       \
         0,                                                                                       \
         "show users' keys in the log (they are redacted otherwise)"},                            \
    {                                                                                             \
        "batch-scheduling", CONFIG_BOOL, offsetof(type, common.batch_scheduling), "false", "", 0, \
            0, "only on a machine of its own: a thread that wakes up waits for a busy processor"  \
    }

#define OPTION_COUNT(options) (sizeof(options) / sizeof((options)[0]))

enum common_load { COMMON_GO_ON, COMMON_HELP_SHOWN, COMMON_USAGE };

/* Loads the configuration and applies `common` (a member of `target`; may be NULL). Help goes to
 * standard output, mistakes to standard error. After COMMON_GO_ON the caller frees the values. */
enum common_load common_load(const struct config_table *table, int argument_count, char **arguments,
                             void *target, const struct common_options *common);

/* "flotilla node: <sentence>" on standard error. */
void common_complain(const char *command, const struct buf *sentence);
void common_complain_text(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Of a command that could not begin: called wrongly when the status is INVALID, else failed. */
int common_exit_code(enum status status);

/* Replaces a file atomically with one line of text. IO, NO_SPACE with a sentence. */
enum status common_write_file(const char *path, const char *line, struct buf *error) MUST_CHECK;
/* Creates a directory and its parents. */
enum status common_make_directory(const char *path, struct buf *error) MUST_CHECK;
/* The same for the data directory of a process (engine/ lies in it), which neither holds another
 * one nor lies in one: whoever removes, copies or restores one would not know of the other. INVALID
 * with a sentence that names both. */
enum status common_make_data_directory(const char *path, struct buf *error) MUST_CHECK;

/* One line on standard output; frees the object. */
void common_print_json_take(cJSON *object);

const char *common_version(void);
/* A line for each library that matters: its version, and whether it is the system's or what
 * `./dev libraries` has built. */
const char *common_libraries(void);

#endif
