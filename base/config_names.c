/* Names of options: finding them, what was meant by a mistyped one, and the environment's. */
#include "base/config_names.h"

#include <unistd.h>

#include "base/assert.h"

#define VARIABLE_PREFIX "FLOTILLA_"

void config_environment_name(const char *name, char ret_text[CONFIG_VARIABLE_BYTES_MAX]) {
    ASSERT_CMP(strlen(name), <, CONFIG_NAME_BYTES_MAX);
    char *end = stpcpy(ret_text, VARIABLE_PREFIX);
    for (; *name; name++) {
        bool lower = *name >= 'a' && *name <= 'z';
        *end++ = lower ? (char)(*name - 'a' + 'A') : *name == '-' ? '_' : *name;
    }
    *end = 0;
}

const struct config_option *config_find_option(const struct config_table *table,
                                               struct slice name) {
    for (size_t i = 0; i < table->option_count; i++) {
        if (slice_equal(slice_from_text(table->options[i].name), name)) return &table->options[i];
    }
    return NULL;
}

/* Edits (insert, delete, replace a character) between two names; row by row of the usual table. */
static size_t edit_distance(struct slice a, struct slice b) {
    size_t row[CONFIG_NAME_BYTES_MAX + 1];
    ASSERT_CMP(b.len, <=, CONFIG_NAME_BYTES_MAX);
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t replaced = diagonal + (a.data[i - 1] != b.data[j - 1]);
            size_t shorter = row[j] < row[j - 1] ? row[j] : row[j - 1];
            diagonal = row[j];
            row[j] = replaced < shorter + 1 ? replaced : shorter + 1;
        }
    }
    return row[b.len];
}

const struct config_option *config_nearest_option(const struct config_table *table,
                                                  struct slice name, size_t *distance_max) {
    const struct config_option *nearest = NULL;
    for (size_t i = 0; name.len <= CONFIG_NAME_BYTES_MAX && i < table->option_count; i++) {
        size_t distance = edit_distance(name, slice_from_text(table->options[i].name));
        if (distance > *distance_max) continue;
        nearest = &table->options[i];
        *distance_max = distance - (distance > 0);
    }
    return nearest;
}

/* ---- the environment ---- */

/* "FLOTILLA_DATA_DIR" after its prefix as an option's name: "data-dir". */
static struct slice name_of_variable(struct slice rest, char ret_text[CONFIG_NAME_BYTES_MAX]) {
    size_t len = rest.len < CONFIG_NAME_BYTES_MAX ? rest.len : CONFIG_NAME_BYTES_MAX;
    for (size_t i = 0; i < len; i++) {
        char c = (char)rest.data[i];
        bool upper = c >= 'A' && c <= 'Z';
        ret_text[i] = c == '_' ? '-' : upper ? (char)(c - 'A' + 'a') : c;
    }
    return slice_make(ret_text, len);
}

static enum status check_variable(const struct config_table *const *tables, size_t table_count,
                                  struct slice variable, struct slice name, struct buf *error) {
    const struct config_option *nearest = NULL;
    size_t distance_max = CONFIG_TYPING_ERRORS_MAX;
    for (size_t i = 0; i < table_count; i++) {
        const struct config_option *option = config_find_option(tables[i], name);
        if (option && option->kind != CONFIG_LIST) return STATUS_OK;
        option = config_nearest_option(tables[i], name, &distance_max);
        if (option && option->kind != CONFIG_LIST) nearest = option;
    }
    buf_printf(error, "%.*s in the environment is no option of any command; ", (int)variable.len,
               (const char *)variable.data);
    if (nearest) {
        char meant[CONFIG_VARIABLE_BYTES_MAX];
        config_environment_name(nearest->name, meant);
        buf_printf(error, "did you mean %s? Else ", meant);
    }
    buf_printf(error, "unset it, so that nobody takes it for a setting in force");
    return STATUS_INVALID;
}

enum status config_check_environment(const struct config_table *const *tables, size_t table_count,
                                     struct buf *error) {
    /* The file of options, and what the scripts of the tree tell each other. */
    static const char *const others[] = {"CONFIG", "BIN"};
    const struct slice prefix = SLICE_LITERAL(VARIABLE_PREFIX);
    for (char **entry = environ; *entry; entry++) {
        struct slice variable = slice_make(*entry, strcspn(*entry, "="));
        char text[CONFIG_NAME_BYTES_MAX];
        bool is_other = false;
        if (!slice_has_prefix(variable, prefix)) continue;
        struct slice rest = slice_make(variable.data + prefix.len, variable.len - prefix.len);
        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
            is_other = is_other || slice_equal(rest, slice_from_text(others[i]));
        if (is_other) continue;
        enum status status =
            check_variable(tables, table_count, variable, name_of_variable(rest, text), error);
        if (status != STATUS_OK) return status;
    }
    return STATUS_OK;
}
