/* Configuration as a table: each option is at once a flag (--data-dir), a YAML key (data-dir) and
 * an environment variable (FLOTILLA_DATA_DIR). Flags win over environment, environment over file,
 * file over defaults. YAML is read by libyaml; a list of scalars is joined by commas. Unknown keys
 * and unreadable values are errors that name the key, the value, where it came from and what is
 * allowed. The YAML file itself is named by --config or FLOTILLA_CONFIG. */
#ifndef FLOTILLA_BASE_CONFIG_H
#define FLOTILLA_BASE_CONFIG_H

#include <stddef.h>

#include "base/slice.h"
#include "base/status.h"

enum config_kind {
    CONFIG_TEXT,   /* char *, owned by the target struct (memory_free) */
    CONFIG_U64,    /* uint64_t, with minimum and maximum */
    CONFIG_DOUBLE, /* double */
    CONFIG_BOOL,   /* bool; as a flag, --name alone means true, --no-name false */
    /* Text as well (char *), checked by base/address.h. Empty is allowed where the default is. */
    CONFIG_LISTEN,    /* HOST:PORT to listen on; port 0 takes a free one */
    CONFIG_ADDRESS,   /* HOST:PORT to dial */
    CONFIG_ADDRESSES, /* one or more of them, comma-separated */
    /* struct config_list; on the command line only, any number of times. Options that share the
     * field make one list, in the order of the command line. */
    CONFIG_LIST,
};

struct config_list_item {
    const char *option; /* its name; NULL: an operand */
    char *text;         /* owned by the list */
};

struct config_list {
    size_t count;
    struct config_list_item *items; /* owned by the target struct (config_free_values) */
};

struct config_option {
    const char *name; /* "data-dir" */
    enum config_kind kind;
    size_t offset;             /* of the field in the target struct */
    const char *default_text;  /* parsed like any other value; NULL: required */
    const char *unit;          /* "ms", "bytes", "" ; printed in --help */
    uint64_t minimum, maximum; /* CONFIG_U64 only; both 0: no bounds */
    const char *help;          /* one line */
};

struct config_table {
    const char *command;  /* "node" */
    const char *synopsis; /* one paragraph for --help */
    const char *examples; /* lines for --help; may be NULL */
    const struct config_option *options;
    size_t option_count;
    /* What stands on the command line beside the options: "KEY VALUE". NULL: nothing may. A text
     * that begins with a dash is none, except "-" alone, a number, and what comes after "--". */
    const char *operands;
    size_t operands_offset; /* of a struct config_list in the target struct */
    size_t operands_min, operands_max;
};

/* Fills `target`. `arguments` are those after the command's name; `--config FILE` names the YAML
 * file. INVALID: `error` says what and how to mend it, and the target is untouched. `--help` sets
 * *ret_help and returns OK, likewise without touching the target. Reads the environment: call it
 * while there is one thread. */
enum status config_load(const struct config_table *table, int argument_count, char **arguments,
                        void *target, bool *ret_help, struct buf *error) MUST_CHECK;
/* Looks through the environment for FLOTILLA_ variables that are no option of any of the tables:
 * whoever sets one expects an effect. INVALID: `error` names it, and a near one. */
enum status config_check_environment(const struct config_table *const *tables, size_t table_count,
                                     struct buf *error) MUST_CHECK;
void config_print_help(const struct config_table *table, struct buf *out);
void config_print_values(const struct config_table *table, const void *source, struct buf *out);
void config_free_values(const struct config_table *table, void *target);

#endif
