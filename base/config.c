/* Settings are collected from the weakest source to the strongest (defaults, file, environment,
 * flags); each is checked where it is met, so that a mistake is reported even when something
 * stronger overrides it. The target is written only when everything was right. */
#include "base/config.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/address.h"
#include "base/assert.h"
#include "base/config_names.h"
#include "base/config_yaml.h"
#include "base/memory.h"

#define CONFIG_FILE_BYTES_MAX (1024u * 1024u)
#define HELP_COLUMN 30

enum source_kind { SOURCE_DEFAULT, SOURCE_FILE, SOURCE_ENVIRONMENT, SOURCE_FLAG };

struct source {
    enum source_kind kind;
    const char *path; /* SOURCE_FILE */
    size_t line;      /* SOURCE_FILE */
};

struct setting {
    bool given;
    char *text; /* owned */
    uint64_t whole;
    double real;
    bool truth;
    struct config_list list; /* of the first option that has the field */
};

struct loader {
    const struct config_table *table;
    struct setting *settings; /* one for each option */
    struct buf *error;
    const char *config_path; /* NULL: no file; borrowed from the arguments or the environment */
    enum source_kind config_path_source;
    struct config_list operands;
    bool help;
};

/* ---- describing ---- */

/* The name as the user wrote it in that source. */
static void append_name(struct buf *out, const char *name, enum source_kind kind) {
    char variable[CONFIG_VARIABLE_BYTES_MAX];
    switch (kind) {
    case SOURCE_FLAG:
        buf_printf(out, "--%s", name);
        return;
    case SOURCE_ENVIRONMENT:
        config_environment_name(name, variable);
        buf_printf(out, "%s", variable);
        return;
    case SOURCE_FILE:
    case SOURCE_DEFAULT:
        buf_printf(out, "%s", name);
        return;
    }
}

static void append_source(struct buf *out, const struct source *source) {
    switch (source->kind) {
    case SOURCE_FLAG:
        buf_printf(out, " (from the command line)");
        return;
    case SOURCE_ENVIRONMENT:
        buf_printf(out, " (from the environment)");
        return;
    case SOURCE_FILE:
        buf_printf(out, " (from %s, line %zu)", source->path, source->line);
        return;
    case SOURCE_DEFAULT:
        buf_printf(out, " (the built-in default)");
        return;
    }
}

static bool has_bounds(const struct config_option *option) {
    return option->kind == CONFIG_U64 && (option->minimum != 0 || option->maximum != 0);
}

static bool is_text(enum config_kind kind) {
    return kind == CONFIG_TEXT || kind == CONFIG_LISTEN || kind == CONFIG_ADDRESS ||
           kind == CONFIG_ADDRESSES;
}

/* "1 to 10000 ms" */
static void append_allowed(struct buf *out, const struct config_option *option) {
    const char *gap = option->unit[0] ? " " : "";
    switch (option->kind) {
    case CONFIG_TEXT:
    case CONFIG_LIST:
        buf_printf(out, "text");
        return;
    case CONFIG_LISTEN:
    case CONFIG_ADDRESS:
        buf_printf(out, "HOST:PORT");
        return;
    case CONFIG_ADDRESSES:
        buf_printf(out, "HOST:PORT, or several, comma-separated");
        return;
    case CONFIG_BOOL:
        buf_printf(out, "true or false");
        return;
    case CONFIG_DOUBLE:
        buf_printf(out, "a number%s%s", gap, option->unit);
        return;
    case CONFIG_U64:
        if (has_bounds(option)) {
            buf_printf(out, "%" PRIu64 " to %" PRIu64, option->minimum, option->maximum);
        } else {
            buf_printf(out, "a whole number");
        }
        buf_printf(out, "%s%s", gap, option->unit);
        return;
    }
}

static enum status refuse_value(struct loader *loader, const struct config_option *option,
                                const char *text, const struct source *source,
                                const char *problem) {
    append_name(loader->error, option->name, source->kind);
    buf_printf(loader->error, ": '%s' %s", text, problem);
    append_source(loader->error, source);
    buf_printf(loader->error, "; allowed ");
    append_allowed(loader->error, option);
    return STATUS_INVALID;
}

/* ---- names ---- */

static enum status refuse_name(struct loader *loader, struct slice name,
                               const struct source *source) {
    size_t distance_max = CONFIG_TYPING_ERRORS_MAX;
    const struct config_option *nearest = config_nearest_option(loader->table, name, &distance_max);
    buf_printf(loader->error, "%s%.*s: unknown option", source->kind == SOURCE_FLAG ? "--" : "",
               (int)(name.len < 200 ? name.len : 200), (const char *)name.data);
    append_source(loader->error, source);
    if (nearest) {
        buf_printf(loader->error, "; did you mean ");
        append_name(loader->error, nearest->name, source->kind);
        buf_printf(loader->error, "?");
    } else {
        buf_printf(loader->error, "; see `flotilla %s --help`", loader->table->command);
    }
    return STATUS_INVALID;
}

/* ---- values ---- */

static bool parse_u64(const char *text, uint64_t *ret_value, bool *ret_too_large) {
    uint64_t value = 0;
    *ret_too_large = false;
    if (!*text) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        uint64_t digit = (uint64_t)(*text - '0');
        if (value > (UINT64_MAX - digit) / 10) *ret_too_large = true;
        value = value * 10 + digit;
    }
    *ret_value = value;
    return true;
}

static bool parse_double(const char *text, double *ret_value) {
    /* strtod also knows blanks, hexadecimal, infinities and other things nobody means. */
    if (!*text || text[strspn(text, "0123456789+-.eE")]) return false;
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value)) return false;
    *ret_value = value;
    return true;
}

static bool parse_bool(const char *text, bool *ret_value) {
    static const char *const words[][2] = {
        {"false", "true"}, {"no", "yes"}, {"off", "on"}, {"0", "1"}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        for (int truth = 0; truth < 2; truth++) {
            if (strcmp(text, words[i][truth]) != 0) continue;
            *ret_value = truth == 1;
            return true;
        }
    }
    return false;
}

/* Returns what is wrong with the text, or NULL after filling `ret_setting` (but its text). */
static const char *parse_value(const struct config_option *option, const char *text,
                               struct setting *ret_setting) {
    bool too_large;
    bool may_be_empty = option->default_text && !option->default_text[0];
    if (is_text(option->kind) && !text[0] && may_be_empty) return NULL;
    switch (option->kind) {
    case CONFIG_TEXT:
    case CONFIG_LIST:
        return NULL;
    case CONFIG_LISTEN:
        return address_parse(slice_from_text(text), ADDRESS_TO_LISTEN, NULL);
    case CONFIG_ADDRESS:
        return address_parse(slice_from_text(text), ADDRESS_TO_DIAL, NULL);
    case CONFIG_ADDRESSES:
        return address_list_problem(slice_from_text(text));
    case CONFIG_DOUBLE:
        return parse_double(text, &ret_setting->real) ? NULL : "is not a number";
    case CONFIG_BOOL:
        return parse_bool(text, &ret_setting->truth) ? NULL : "is neither true nor false";
    case CONFIG_U64:
        if (!parse_u64(text, &ret_setting->whole, &too_large)) return "is not a whole number";
        if (too_large) return "is too large";
        if (!has_bounds(option)) return NULL;
        if (ret_setting->whole < option->minimum) return "is too small";
        if (ret_setting->whole > option->maximum) return "is too large";
        return NULL;
    }
    return "is of an unknown kind";
}

static char *copy_text(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = memory_alloc(size);
    memcpy(copy, text, size);
    return copy;
}

static void list_add(struct config_list *list, const char *option, const char *text) {
    list->items = memory_realloc(list->items, (list->count + 1) * sizeof(list->items[0]));
    list->items[list->count++] =
        (struct config_list_item){.option = option, .text = copy_text(text)};
}

static void list_done(struct config_list *list) {
    for (size_t i = 0; i < list->count; i++)
        memory_free(list->items[i].text);
    memory_free(list->items);
    *list = (struct config_list){0};
}

/* The setting of the first option that fills the same field. */
static struct setting *list_setting(const struct loader *loader,
                                    const struct config_option *option) {
    size_t i = 0;
    while (loader->table->options[i].offset != option->offset)
        i++;
    return &loader->settings[i];
}

static enum status set_value(struct loader *loader, const struct config_option *option,
                             const char *text, const struct source *source) {
    struct setting *setting = &loader->settings[option - loader->table->options];
    const char *problem = parse_value(option, text, setting);
    if (problem) return refuse_value(loader, option, text, source, problem);
    setting->given = true;
    if (is_text(option->kind)) {
        memory_free(setting->text);
        setting->text = copy_text(text);
    } else if (option->kind == CONFIG_LIST) {
        list_add(&list_setting(loader, option)->list, option->name, text);
    }
    return STATUS_OK;
}

/* ---- sources ---- */

static void load_defaults(struct loader *loader) {
    const struct source source = {.kind = SOURCE_DEFAULT};
    for (size_t i = 0; i < loader->table->option_count; i++) {
        const struct config_option *option = &loader->table->options[i];
        if (!option->default_text || option->kind == CONFIG_LIST) continue;
        /* A default that does not pass its own check is a mistake in the table. */
        ASSERT(set_value(loader, option, option->default_text, &source) == STATUS_OK);
    }
}

static enum status load_environment(struct loader *loader) {
    const struct source source = {.kind = SOURCE_ENVIRONMENT};
    char variable[CONFIG_VARIABLE_BYTES_MAX];
    for (size_t i = 0; i < loader->table->option_count; i++) {
        const struct config_option *option = &loader->table->options[i];
        if (option->kind == CONFIG_LIST) continue;
        config_environment_name(option->name, variable);
        const char *text = getenv(variable);
        if (!text) continue;
        enum status status = set_value(loader, option, text, &source);
        if (status != STATUS_OK) return status;
    }
    return STATUS_OK;
}

static enum status on_file_value(void *ctx, const char *key, const char *value, size_t line) {
    struct loader *loader = ctx;
    const struct source source = {.kind = SOURCE_FILE, .path = loader->config_path, .line = line};
    const struct config_option *option = config_find_option(loader->table, slice_from_text(key));
    if (!option) return refuse_name(loader, slice_from_text(key), &source);
    if (option->kind == CONFIG_LIST) {
        buf_printf(loader->error, "%s: is taken from the command line only (from %s, line %zu)",
                   key, loader->config_path, line);
        return STATUS_INVALID;
    }
    return set_value(loader, option, value, &source);
}

static enum status read_file(const char *path, struct buf *into, struct buf *error) {
    FILE *file = fopen(path, "re");
    if (!file) {
        buf_printf(error, "cannot open %s: %s", path, strerror(errno));
        return STATUS_INVALID;
    }
    enum status status = STATUS_OK;
    buf_reserve(into, CONFIG_FILE_BYTES_MAX + 1);
    errno = 0;
    into->len = fread(into->data, 1, CONFIG_FILE_BYTES_MAX + 1, file);
    if (ferror(file)) {
        buf_printf(error, "cannot read %s: %s", path, strerror(errno));
        status = STATUS_INVALID;
    } else if (into->len > CONFIG_FILE_BYTES_MAX) {
        buf_printf(error, "%s is larger than a configuration may be (%u bytes)", path,
                   CONFIG_FILE_BYTES_MAX);
        status = STATUS_INVALID;
    }
    (void)fclose(file); /* nothing was written, so nothing can be lost */
    return status;
}

static enum status load_file(struct loader *loader) {
    if (!loader->config_path) return STATUS_OK;
    struct buf text = {0}, problem = {0};
    const struct config_yaml_receiver receiver = {.ctx = loader, .on_value = on_file_value};
    enum status status = read_file(loader->config_path, &text, &problem);
    if (status != STATUS_OK) {
        append_name(loader->error, "config", loader->config_path_source);
        buf_printf(loader->error, ": %.*s", (int)problem.len, (const char *)problem.data);
    } else {
        status = config_yaml_read(slice_from_buf(&text), &receiver, &problem);
        /* A refused value has been described already; a malformed document has not. */
        if (problem.len > 0) {
            buf_printf(loader->error, "%s, %.*s", loader->config_path, (int)problem.len,
                       (const char *)problem.data);
        }
    }
    buf_done(&text);
    buf_done(&problem);
    return status;
}

/* ---- the command line ---- */

struct flag {
    struct slice name;
    const char *value; /* after `=`, or NULL */
};

/* False when the argument is no flag. */
static bool split_flag(const char *argument, struct flag *ret_flag) {
    if (strncmp(argument, "--", 2) != 0 || !argument[2]) return false;
    const char *name = argument + 2, *equals = strchr(name, '=');
    ret_flag->name = equals ? slice_make(name, (size_t)(equals - name)) : slice_from_text(name);
    ret_flag->value = equals ? equals + 1 : NULL;
    return true;
}

/* Receives one flag of the command line; `option` is NULL for --config. */
typedef enum status on_flag_fn(struct loader *loader, const struct config_option *option,
                               const char *value);

static enum status take_config_path(struct loader *loader, const struct config_option *option,
                                    const char *value) {
    if (option) return STATUS_OK;
    loader->config_path = value;
    loader->config_path_source = SOURCE_FLAG;
    return STATUS_OK;
}

static enum status take_flag_value(struct loader *loader, const struct config_option *option,
                                   const char *value) {
    const struct source source = {.kind = SOURCE_FLAG};
    return option ? set_value(loader, option, value, &source) : STATUS_OK;
}

/* `--no-name` for an option that is true or false; the whole name wins over this reading. */
static const struct config_option *find_negated(const struct config_table *table,
                                                const struct flag *flag) {
    struct slice no = SLICE_LITERAL("no-");
    if (flag->value || !slice_has_prefix(flag->name, no)) return NULL;
    const struct config_option *option =
        config_find_option(table, slice_make(flag->name.data + no.len, flag->name.len - no.len));
    return option && option->kind == CONFIG_BOOL ? option : NULL;
}

static enum status walk_one(struct loader *loader, const struct flag *flag, const char *next,
                            on_flag_fn *on_flag, bool *ret_used_next) {
    const struct source source = {.kind = SOURCE_FLAG};
    bool is_config = slice_equal(flag->name, SLICE_LITERAL("config"));
    const struct config_option *option =
        is_config ? NULL : config_find_option(loader->table, flag->name);
    if (!is_config && !option) {
        option = find_negated(loader->table, flag);
        if (option) return on_flag(loader, option, "false");
        return refuse_name(loader, flag->name, &source);
    }
    if (flag->value) return on_flag(loader, option, flag->value);
    if (option && option->kind == CONFIG_BOOL) return on_flag(loader, option, "true");
    /* What looks like the next flag is not taken for a value; `--name=--value` says it is one. */
    struct flag ignored;
    if (!next || split_flag(next, &ignored)) {
        buf_printf(loader->error, "--%s: the value is missing (from the command line); allowed ",
                   option ? option->name : "config");
        if (option) {
            append_allowed(loader->error, option);
        } else {
            buf_printf(loader->error, "the path of a YAML file");
        }
        return STATUS_INVALID;
    }
    *ret_used_next = true;
    return on_flag(loader, option, next);
}

static enum status refuse_argument(struct loader *loader, const char *argument) {
    const char *expected = loader->table->operands;
    buf_printf(loader->error,
               "'%s': unexpected (from the command line); options look like --name VALUE",
               argument);
    if (expected && argument[0] == '-')
        buf_printf(loader->error, ", and what begins with a dash comes after --");
    else if (expected)
        buf_printf(loader->error, ", beside them stands only %s", expected);
    buf_printf(loader->error, ", see `flotilla %s --help`", loader->table->command);
    return STATUS_INVALID;
}

/* "-" and numbers are meant; anything else with a dash is more often an option mistyped. */
static bool may_be_operand(const char *argument) {
    return argument[0] != '-' || !argument[1] || (argument[1] >= '0' && argument[1] <= '9');
}

static enum status take_operand(struct loader *loader, const char *argument, bool after_dashes) {
    const struct config_table *table = loader->table;
    if (!table->operands || loader->operands.count == table->operands_max ||
        !(after_dashes || may_be_operand(argument)))
        return refuse_argument(loader, argument);
    list_add(&loader->operands, NULL, argument);
    return STATUS_OK;
}

static enum status walk_arguments(struct loader *loader, int count, char **arguments,
                                  on_flag_fn *on_flag) {
    bool after_dashes = false;
    list_done(&loader->operands); /* of an earlier walk */
    for (int i = 0; i < count; i++) {
        struct flag flag;
        if (!after_dashes &&
            (strcmp(arguments[i], "--help") == 0 || strcmp(arguments[i], "-h") == 0)) {
            loader->help = true;
            return STATUS_OK;
        }
        if (!after_dashes && loader->table->operands && strcmp(arguments[i], "--") == 0) {
            after_dashes = true;
            continue;
        }
        if (after_dashes || !split_flag(arguments[i], &flag)) {
            if (take_operand(loader, arguments[i], after_dashes) != STATUS_OK)
                return STATUS_INVALID;
            continue;
        }
        bool used_next = false;
        const char *next = i + 1 < count ? arguments[i + 1] : NULL;
        enum status status = walk_one(loader, &flag, next, on_flag, &used_next);
        if (status != STATUS_OK) return status;
        if (used_next) i++;
    }
    return STATUS_OK;
}

/* ---- loading ---- */

static enum status check_required(struct loader *loader) {
    for (size_t i = 0; i < loader->table->option_count; i++) {
        const struct config_option *option = &loader->table->options[i];
        if (loader->settings[i].given || option->kind == CONFIG_LIST) continue;
        char variable[CONFIG_VARIABLE_BYTES_MAX];
        config_environment_name(option->name, variable);
        buf_printf(loader->error,
                   "--%s: required, but given nowhere; give --%s, or `%s:` in the --config file, or"
                   " %s in the environment; allowed ",
                   option->name, option->name, option->name, variable);
        append_allowed(loader->error, option);
        return STATUS_INVALID;
    }
    if (loader->operands.count < loader->table->operands_min) {
        buf_printf(loader->error, "%s: %s missing; see `flotilla %s --help`",
                   loader->table->operands, loader->operands.count > 0 ? "the last is" : "it is",
                   loader->table->command);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

static enum status load_sources(struct loader *loader, int argument_count, char **arguments) {
    load_defaults(loader);
    loader->config_path = getenv("FLOTILLA_CONFIG");
    loader->config_path_source = SOURCE_ENVIRONMENT;
    /* The file is weaker than the flags, but only the flags know where it is: hence two walks. */
    enum status status = walk_arguments(loader, argument_count, arguments, take_config_path);
    if (status != STATUS_OK || loader->help) return status;
    status = load_file(loader);
    if (status != STATUS_OK) return status;
    status = load_environment(loader);
    if (status != STATUS_OK) return status;
    status = walk_arguments(loader, argument_count, arguments, take_flag_value);
    if (status != STATUS_OK) return status;
    return check_required(loader);
}

/* Moves a setting into the target's field, with the ownership of its text. */
static void store_setting(const struct config_option *option, struct setting *setting,
                          void *target) {
    void *field = (uint8_t *)target + option->offset;
    switch (option->kind) {
    case CONFIG_LIST:
        memcpy(field, &setting->list, sizeof(setting->list));
        setting->list = (struct config_list){0};
        return;
    case CONFIG_TEXT:
    case CONFIG_LISTEN:
    case CONFIG_ADDRESS:
    case CONFIG_ADDRESSES:
        memcpy(field, &setting->text, sizeof(setting->text));
        setting->text = NULL;
        return;
    case CONFIG_U64:
        memcpy(field, &setting->whole, sizeof(setting->whole));
        return;
    case CONFIG_DOUBLE:
        memcpy(field, &setting->real, sizeof(setting->real));
        return;
    case CONFIG_BOOL:
        memcpy(field, &setting->truth, sizeof(setting->truth));
        return;
    }
}

enum status config_load(const struct config_table *table, int argument_count, char **arguments,
                        void *target, bool *ret_help, struct buf *error) {
    struct loader loader = {.table = table, .error = error};
    loader.settings = memory_zalloc(table->option_count * sizeof(struct setting));
    enum status status = load_sources(&loader, argument_count, arguments);
    for (size_t i = 0; i < table->option_count; i++) {
        const struct config_option *option = &table->options[i];
        bool shares =
            option->kind == CONFIG_LIST && list_setting(&loader, option) != &loader.settings[i];
        if (status == STATUS_OK && !loader.help && !shares) {
            store_setting(option, &loader.settings[i], target);
        }
        memory_free(loader.settings[i].text);
        list_done(&loader.settings[i].list);
    }
    memory_free(loader.settings);
    if (status == STATUS_OK && !loader.help && table->operands) {
        memcpy((uint8_t *)target + table->operands_offset, &loader.operands,
               sizeof(loader.operands));
        loader.operands = (struct config_list){0};
    }
    list_done(&loader.operands);
    if (status == STATUS_OK) *ret_help = loader.help;
    return status;
}

static void free_list(void *target, size_t offset) {
    struct config_list list;
    memcpy(&list, (uint8_t *)target + offset, sizeof(list));
    list_done(&list);
    memcpy((uint8_t *)target + offset, &list, sizeof(list));
}

void config_free_values(const struct config_table *table, void *target) {
    if (table->operands) free_list(target, table->operands_offset);
    for (size_t i = 0; i < table->option_count; i++) {
        if (table->options[i].kind == CONFIG_LIST) free_list(target, table->options[i].offset);
        if (!is_text(table->options[i].kind)) continue;
        uint8_t *field = (uint8_t *)target + table->options[i].offset;
        char *text;
        memcpy(&text, field, sizeof(text));
        memory_free(text);
        memset(field, 0, sizeof(text));
    }
}

/* ---- printing ---- */

/* A YAML text in double quotes. What is not ASCII is escaped, because YAML forbids some of it and
 * folds some other as line breaks. Bytes that are no UTF-8 cannot be expressed; they are shown. */
static void append_quoted(struct buf *out, const char *text) {
    buf_append_byte(out, '"');
    while (*text) {
        unsigned char byte = (unsigned char)*text;
        uint32_t code_point;
        size_t len = byte >= 0x80 ? slice_decode_utf8(slice_from_text(text), &code_point) : 0;
        if (len > 0) {
            buf_printf(out, "\\U%08" PRIx32, code_point);
        } else if (byte == '"' || byte == '\\') {
            buf_printf(out, "\\%c", byte);
        } else if (byte < 0x20 || byte >= 0x7f) {
            buf_printf(out, "\\x%02x", byte);
        } else {
            buf_append_byte(out, byte);
        }
        text += len > 0 ? len : 1;
    }
    buf_append_byte(out, '"');
}

static void append_value(struct buf *out, const struct config_option *option, const void *source) {
    const uint8_t *field = (const uint8_t *)source + option->offset;
    struct setting value;
    switch (option->kind) {
    case CONFIG_LIST: /* it belongs to one call, not to a configuration */
        buf_printf(out, "[]");
        return;
    case CONFIG_TEXT:
    case CONFIG_LISTEN:
    case CONFIG_ADDRESS:
    case CONFIG_ADDRESSES:
        memcpy(&value.text, field, sizeof(value.text));
        append_quoted(out, value.text ? value.text : "");
        return;
    case CONFIG_U64:
        memcpy(&value.whole, field, sizeof(value.whole));
        buf_printf(out, "%" PRIu64, value.whole);
        return;
    case CONFIG_DOUBLE:
        memcpy(&value.real, field, sizeof(value.real));
        buf_printf(out, "%.17g", value.real);
        return;
    case CONFIG_BOOL:
        memcpy(&value.truth, field, sizeof(value.truth));
        buf_printf(out, "%s", value.truth ? "true" : "false");
        return;
    }
}

void config_print_values(const struct config_table *table, const void *source, struct buf *out) {
    for (size_t i = 0; i < table->option_count; i++) {
        buf_printf(out, "%s: ", table->options[i].name);
        append_value(out, &table->options[i], source);
        buf_append_byte(out, '\n');
    }
}

static void print_option(const struct config_option *option, struct buf *out) {
    static const char *const placeholders[] = {
        [CONFIG_TEXT] = " TEXT",         [CONFIG_U64] = " N",
        [CONFIG_DOUBLE] = " X",          [CONFIG_BOOL] = "",
        [CONFIG_LIST] = " TEXT",         [CONFIG_LISTEN] = " HOST:PORT",
        [CONFIG_ADDRESS] = " HOST:PORT", [CONFIG_ADDRESSES] = " HOST:PORT,..."};
    size_t start = out->len;
    buf_printf(out, "  --%s%s%s", option->kind == CONFIG_BOOL ? "[no-]" : "", option->name,
               placeholders[option->kind]);
    int width = (int)(out->len - start);
    if (width < HELP_COLUMN) {
        buf_printf(out, "%*s", HELP_COLUMN - width, "");
    } else {
        buf_printf(out, "\n%*s", HELP_COLUMN, "");
    }
    buf_printf(out, "%s (", option->help);
    if (option->kind == CONFIG_U64 || option->kind == CONFIG_DOUBLE) {
        append_allowed(out, option);
        buf_printf(out, "; ");
    }
    if (option->kind == CONFIG_LIST) {
        buf_printf(out, "any number of times)\n");
    } else if (!option->default_text) {
        buf_printf(out, "required)\n");
    } else {
        buf_printf(out, "default %s)\n", option->default_text[0] ? option->default_text : "empty");
    }
}

void config_print_help(const struct config_table *table, struct buf *out) {
    const char *operands = table->operands ? table->operands : "";
    buf_printf(out, "Usage: flotilla %s%s%s [--config FILE] [OPTIONS]\n\n%s\n\nOptions:\n",
               table->command, operands[0] ? " " : "", operands, table->synopsis);
    for (size_t i = 0; i < table->option_count; i++)
        print_option(&table->options[i], out);
    buf_printf(out, "  %-*sread options from this YAML file\n", HELP_COLUMN - 2, "--config FILE");
    buf_printf(out, "  %-*sprint this text\n", HELP_COLUMN - 2, "--help");
    buf_printf(out, "\nEvery option is also a key of the YAML file (`option-name: value`) and an\n"
                    "environment variable (FLOTILLA_OPTION_NAME). The command line wins over the\n"
                    "environment, the environment over the file, the file over the defaults.\n");
    if (table->examples) buf_printf(out, "\nExamples:\n%s\n", table->examples);
}
