/* Configuration: precedence, every way to be wrong, and the texts that tell. */
#include "base/config.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"

struct settings {
    char *data_dir;
    char *peers, *listen, *join, *seeds;
    uint64_t heartbeat_ms;
    uint64_t ranges;
    double skew;
    bool lease_reads;
};

static const struct config_option options[] = {
    {"data-dir", CONFIG_TEXT, offsetof(struct settings, data_dir), NULL, "", 0, 0,
     "where the data lies"},
    {"peers", CONFIG_TEXT, offsetof(struct settings, peers), "", "", 0, 0, "the others"},
    {"listen", CONFIG_LISTEN, offsetof(struct settings, listen), "127.0.0.1:0", "", 0, 0,
     "where to serve"},
    {"join", CONFIG_ADDRESS, offsetof(struct settings, join), "", "", 0, 0, "whom to ask"},
    {"seeds", CONFIG_ADDRESSES, offsetof(struct settings, seeds), "a:1", "", 0, 0, "first ones"},
    {"heartbeat-ms", CONFIG_U64, offsetof(struct settings, heartbeat_ms), "50", "ms", 1, 10000,
     "time between heartbeats"},
    {"ranges", CONFIG_U64, offsetof(struct settings, ranges), "1", "", 0, 0, "how many ranges"},
    {"skew", CONFIG_DOUBLE, offsetof(struct settings, skew), "0.99", "", 0, 0, "Zipf exponent"},
    {"lease-reads", CONFIG_BOOL, offsetof(struct settings, lease_reads), "true", "", 0, 0,
     "answer reads under a lease"},
};

static const struct config_table table = {
    .command = "node",
    .synopsis = "Runs a node.",
    .examples = "  flotilla node --data-dir /data",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
};

#define NO_FILE NULL

struct loaded {
    enum status status;
    bool help;
    struct settings settings;
    char error[1024];
    char path[64];
};

/* Loads from a YAML text (or NO_FILE) and up to eight arguments, ended by NULL. */
static struct loaded load(const char *yaml, const char *const *arguments) {
    struct loaded result = {0};
    char *argv[12];
    int argc = 0, fd = -1;
    if (yaml) {
        fd = memfd_create("config", MFD_CLOEXEC);
        cr_assert_geq(fd, 0);
        cr_assert_eq(write(fd, yaml, strlen(yaml)), (ssize_t)strlen(yaml));
        (void)snprintf(result.path, sizeof(result.path), "/proc/self/fd/%d", fd);
        argv[argc++] = (char *)(uintptr_t) "--config";
        argv[argc++] = result.path;
    }
    while (arguments && *arguments)
        argv[argc++] = (char *)(uintptr_t)*arguments++;
    struct buf error = {0};
    result.status = config_load(&table, argc, argv, &result.settings, &result.help, &error);
    cr_assert_lt(error.len, sizeof(result.error));
    if (error.len > 0) memcpy(result.error, error.data, error.len);
    buf_done(&error);
    if (fd >= 0) (void)close(fd); /* a file in memory */
    return result;
}

#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void assert_refused(const struct loaded *result, const char *expected_error) {
    cr_assert_eq(result->status, STATUS_INVALID);
    cr_assert_str_eq(result->error, expected_error);
    /* Untouched. */
    const struct settings *settings = &result->settings;
    cr_assert(!settings->data_dir && !settings->peers && !settings->lease_reads);
    cr_assert_eq(settings->heartbeat_ms, 0);
    cr_assert_eq(settings->ranges, 0);
    cr_assert_eq(settings->skew, 0.0);
}

/* Protects defaults of every kind. */
Test(base_config, defaults_fill_what_nobody_gave) {
    struct loaded result = load(NO_FILE, ARGUMENTS("--data-dir", "/data"));
    cr_assert_eq(result.status, STATUS_OK, "%s", result.error);
    cr_assert(!result.help);
    cr_assert_str_eq(result.settings.data_dir, "/data");
    cr_assert_str_eq(result.settings.peers, "");
    cr_assert_eq(result.settings.heartbeat_ms, 50);
    cr_assert_eq(result.settings.ranges, 1);
    cr_assert_eq(result.settings.skew, 0.99);
    cr_assert_eq(result.settings.lease_reads, true);
    config_free_values(&table, &result.settings);
    cr_assert_null(result.settings.data_dir);
    config_free_values(&table, &result.settings);
}

/* Protects the order flag, environment, file, default, one option deciding at each step. */
Test(base_config, stronger_sources_win) {
    setenv("FLOTILLA_HEARTBEAT_MS", "30", 1);
    setenv("FLOTILLA_PEERS", "environment", 1);
    struct loaded result = load("data-dir: file\npeers: file\nheartbeat-ms: 20\nranges: 7\n",
                                ARGUMENTS("--heartbeat-ms=40"));
    cr_assert_eq(result.status, STATUS_OK, "%s", result.error);
    cr_assert_str_eq(result.settings.data_dir, "file");
    cr_assert_str_eq(result.settings.peers, "environment");
    cr_assert_eq(result.settings.heartbeat_ms, 40);
    cr_assert_eq(result.settings.ranges, 7);
    config_free_values(&table, &result.settings);
}

/* Protects every process from an address that means another one further down: checked where it is
 * given, and told with the source. */
Test(base_config, addresses_are_checked_where_they_are_given) {
    static const struct {
        const char *argument, *error;
    } cases[] = {
        {"--listen=127.0.0.1:99999", "--listen: '127.0.0.1:99999' has a port that is not a number "
                                     "from 1 to 65535 (or 0, for any "
                                     "free one) (from the command line); allowed HOST:PORT"},
        {"--listen=",
         "--listen: '' is not HOST:PORT, such as 127.0.0.1:7001 (from the command line); allowed "
         "HOST:PORT"},
        {"--join=a:0",
         "--join: 'a:0' has a port that is not a number from 1 to 65535 (from the command line); "
         "allowed HOST:PORT"},
        {"--seeds=a:1,b:65536",
         "--seeds: 'a:1,b:65536' has a port that is not a number from 1 to 65535 (from the command "
         "line); allowed HOST:PORT, or several, comma-separated"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct loaded refused = load(NO_FILE, ARGUMENTS("--data-dir=d", cases[i].argument));
        assert_refused(&refused, cases[i].error);
    }
    struct loaded taken =
        load("data-dir: d\nseeds: [a:1, 'b:2']\n", ARGUMENTS("--listen=h:0", "--join=h:1"));
    cr_assert_eq(taken.status, STATUS_OK, "%s", taken.error);
    cr_assert_str_eq(taken.settings.listen, "h:0");
    cr_assert_str_eq(taken.settings.join, "h:1");
    cr_assert_str_eq(taken.settings.seeds, "a:1,b:2");
    config_free_values(&table, &taken.settings);
    cr_assert_null(taken.settings.listen);
}

/* Protects the file that only the environment names. */
Test(base_config, the_file_may_be_named_by_the_environment) {
    setenv("FLOTILLA_CONFIG", "/nonexistent/flotilla.yaml", 1);
    struct loaded result = load(NO_FILE, NULL);
    assert_refused(&result, "FLOTILLA_CONFIG: cannot open /nonexistent/flotilla.yaml: No such file"
                            " or directory");
    /* The flag is stronger. */
    result = load("data-dir: here\n", NULL);
    cr_assert_eq(result.status, STATUS_OK, "%s", result.error);
    config_free_values(&table, &result.settings);
}

/* Protects the spellings of flags. */
Test(base_config, flags_may_be_spelled_in_these_ways) {
    struct loaded result = load(
        NO_FILE, ARGUMENTS("--data-dir=--odd", "--no-lease-reads", "--skew", "-1.5e0", "--peers="));
    cr_assert_eq(result.status, STATUS_OK, "%s", result.error);
    cr_assert_str_eq(result.settings.data_dir, "--odd");
    cr_assert_str_eq(result.settings.peers, "");
    cr_assert_eq(result.settings.skew, -1.5);
    cr_assert_eq(result.settings.lease_reads, false);
    config_free_values(&table, &result.settings);
    result = load(NO_FILE, ARGUMENTS("--data-dir", "x", "--lease-reads=off", "--lease-reads",
                                     "--ranges", "18446744073709551615"));
    cr_assert_eq(result.status, STATUS_OK, "%s", result.error);
    cr_assert_eq(result.settings.lease_reads, true); /* the last one counts */
    cr_assert_eq(result.settings.ranges, UINT64_MAX);
    config_free_values(&table, &result.settings);
}

/* Protects YAML: lists, quotes, comments, an empty text. */
Test(base_config, a_file_may_hold_lists_and_quoted_text) {
    struct loaded result = load("# a node\ndata-dir: \"/a b\"  # quoted\npeers: [n1:1, 'n2:2']\n"
                                "lease-reads: no\n",
                                NULL);
    cr_assert_eq(result.status, STATUS_OK, "%s", result.error);
    cr_assert_str_eq(result.settings.data_dir, "/a b");
    cr_assert_str_eq(result.settings.peers, "n1:1,n2:2");
    cr_assert_eq(result.settings.lease_reads, false);
    config_free_values(&table, &result.settings);
    result = load("peers:\n  - a\n  - b\ndata-dir: \"\"\n", NULL);
    cr_assert_eq(result.status, STATUS_OK, "%s", result.error);
    cr_assert_str_eq(result.settings.peers, "a,b");
    config_free_values(&table, &result.settings);
    result = load("", ARGUMENTS("--data-dir", "x"));
    cr_assert_eq(result.status, STATUS_OK, "%s", result.error);
    config_free_values(&table, &result.settings);
}

/* Protects the user: each error names the thing, the value, where it stood and what is allowed. */
Test(base_config, refused_values_are_explained) {
    static const struct {
        const char *argument, *error;
    } cases[] = {
        {"--heartbeat-ms=abc", "--heartbeat-ms: 'abc' is not a whole number (from the command"
                               " line); allowed 1 to 10000 ms"},
        {"--heartbeat-ms=", "--heartbeat-ms: '' is not a whole number (from the command line);"
                            " allowed 1 to 10000 ms"},
        {"--heartbeat-ms=-5", "--heartbeat-ms: '-5' is not a whole number (from the command line);"
                              " allowed 1 to 10000 ms"},
        {"--heartbeat-ms=0", "--heartbeat-ms: '0' is too small (from the command line); allowed 1"
                             " to 10000 ms"},
        {"--heartbeat-ms=10001", "--heartbeat-ms: '10001' is too large (from the command line);"
                                 " allowed 1 to 10000 ms"},
        {"--ranges=18446744073709551616", "--ranges: '18446744073709551616' is too large (from the"
                                          " command line); allowed a whole number"},
        {"--ranges=99999999999999999999999", "--ranges: '99999999999999999999999' is too large"
                                             " (from the command line); allowed a whole number"},
        {"--skew=nan", "--skew: 'nan' is not a number (from the command line); allowed a number"},
        {"--skew=1e999", "--skew: '1e999' is not a number (from the command line); allowed a"
                         " number"},
        {"--skew=0x10", "--skew: '0x10' is not a number (from the command line); allowed a number"},
        {"--skew=1.5.2", "--skew: '1.5.2' is not a number (from the command line); allowed a"
                         " number"},
        {"--lease-reads=maybe", "--lease-reads: 'maybe' is neither true nor false (from the"
                                " command line); allowed true or false"},
        {"--hartbeat-ms=5", "--hartbeat-ms: unknown option (from the command line); did you mean"
                            " --heartbeat-ms?"},
        {"--colour=red", "--colour: unknown option (from the command line); see `flotilla node"
                         " --help`"},
        {"--no-skew", "--no-skew: unknown option (from the command line); see `flotilla node"
                      " --help`"},
        {"surprise", "'surprise': unexpected (from the command line); options look like --name"
                     " VALUE, see `flotilla node --help`"},
        {"--", "'--': unexpected (from the command line); options look like --name VALUE, see"
               " `flotilla node --help`"},
        {"--ranges", "--ranges: the value is missing (from the command line); allowed a whole"
                     " number"},
        {"--config", "--config: the value is missing (from the command line); allowed the path of"
                     " a YAML file"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct loaded result = load(NO_FILE, ARGUMENTS("--data-dir", "x", cases[i].argument));
        assert_refused(&result, cases[i].error);
    }
    struct loaded result = load(NO_FILE, ARGUMENTS("--data-dir", "--skew"));
    assert_refused(&result,
                   "--data-dir: the value is missing (from the command line); allowed text");
}

/* Protects against running with a data directory nobody chose. */
Test(base_config, a_required_option_is_asked_for) {
    struct loaded result = load(NO_FILE, NULL);
    assert_refused(&result, "--data-dir: required, but given nowhere; give --data-dir, or"
                            " `data-dir:` in the --config file, or FLOTILLA_DATA_DIR in the"
                            " environment; allowed text");
}

/* Protects the environment's share of errors. */
Test(base_config, environment_errors_name_the_variable) {
    setenv("FLOTILLA_HEARTBEAT_MS", "fast", 1);
    struct loaded result = load(NO_FILE, ARGUMENTS("--data-dir", "x", "--heartbeat-ms", "5"));
    assert_refused(&result, "FLOTILLA_HEARTBEAT_MS: 'fast' is not a whole number (from the"
                            " environment); allowed 1 to 10000 ms");
}

static void assert_file_refused(const char *yaml, const char *before, const char *after) {
    struct loaded result = load(yaml, ARGUMENTS("--data-dir", "x"));
    char expected[512];
    cr_assert_lt(snprintf(expected, sizeof(expected), "%s%s%s", before, result.path, after),
                 (int)sizeof(expected));
    assert_refused(&result, expected);
}

/* Protects the file's share: path and line are in the text. */
Test(base_config, file_errors_name_the_path_and_line) {
    assert_file_refused("peers: x\nheartbeat-ms: soon\n",
                        "heartbeat-ms: 'soon' is not a whole number (from ",
                        ", line 2); allowed 1 to 10000 ms");
    assert_file_refused("peer: x\n", "peer: unknown option (from ",
                        ", line 1); did you mean peers?");
    assert_file_refused("config: x\n", "config: unknown option (from ",
                        ", line 1); see `flotilla node --help`");
    assert_file_refused("ranges: 1\nranges: 2\n", "", ", line 2: the key is given twice");
    assert_file_refused("peers: {a: b}\n", "",
                        ", line 1: a value must be plain or a list of plain values");
    assert_file_refused("peers: [[a]]\n", "", ", line 1: a list may hold plain values only");
    assert_file_refused("ranges:\n", "",
                        ", line 1: a value is missing (write \"\" for an empty text)");
    assert_file_refused("peers: \"a\\0b\"\n", "", ", line 1: text must not contain a NUL byte");
    assert_file_refused("- a\n", "", ", line 1: expected lines of `key: value`");
    assert_file_refused("just text", "", ", line 1: expected lines of `key: value`");
    assert_file_refused("peers: x\n---\npeers: y\n", "",
                        ", line 2: there must be one document only");
    assert_file_refused("? [a]\n: b\n", "", ", line 1: a key must be plain text");
    assert_file_refused("peers: &a x\nranges: *a\n", "",
                        ", line 2: a value must be plain or a list of plain values");
}

/* Protects against text that is no YAML at all; the wording of the library is not pinned. */
Test(base_config, malformed_yaml_is_an_error_with_a_line) {
    struct loaded result = load("peers: x\nranges: [1, 2\n", ARGUMENTS("--data-dir", "x"));
    cr_assert_eq(result.status, STATUS_INVALID);
    cr_assert(strstr(result.error, ": not valid YAML: "), "%s", result.error);
    cr_assert(strstr(result.error, ", line "), "%s", result.error);
}

/* Protects memory from a file that is no configuration. */
Test(base_config, unreadable_and_huge_files_are_refused) {
    struct loaded result = load(NO_FILE, ARGUMENTS("--config", "/"));
    assert_refused(&result, "--config: cannot read /: Is a directory");
    size_t size = (1 << 20) + 1;
    char *huge = memory_alloc(size + 1);
    memset(huge, '#', size);
    huge[size] = 0;
    result = load(huge, ARGUMENTS("--data-dir", "x"));
    cr_assert_eq(result.status, STATUS_INVALID);
    cr_assert(strstr(result.error, "is larger than a configuration may be (1048576 bytes)"));
    memory_free(huge);
}

/* Protects `--help` from asking for what is missing, and the text from forgetting an option. */
Test(base_config, help_needs_nothing_and_lists_everything) {
    struct loaded result = load(NO_FILE, ARGUMENTS("--help"));
    cr_assert_eq(result.status, STATUS_OK);
    cr_assert(result.help);
    cr_assert_null(result.settings.data_dir);
    struct buf out = {0};
    config_print_help(&table, &out);
    buf_append_byte(&out, 0);
    const char *text = (const char *)out.data;
    cr_assert(strstr(text, "Usage: flotilla node "));
    cr_assert(strstr(text, "  --data-dir TEXT             where the data lies (required)\n"), "%s",
              text);
    cr_assert(strstr(text, "time between heartbeats (1 to 10000 ms; default 50)\n"), "%s", text);
    cr_assert(strstr(text, "--[no-]lease-reads"), "%s", text);
    cr_assert(strstr(text, "the others (default empty)\n"), "%s", text);
    cr_assert(strstr(text, "\nExamples:\n  flotilla node --data-dir /data\n"), "%s", text);
    buf_done(&out);
}

/* Protects `--print-config`: what is printed can be loaded again and gives the same. */
Test(base_config, printed_values_can_be_loaded_again) {
    struct loaded first =
        load(NO_FILE, ARGUMENTS("--data-dir", "a \"b\"\\c\n: # \u00e9\xc2\x8f\u2028\U0001f6a2",
                                "--skew", "0.1", "--no-lease-reads", "--peers", "x,y"));
    cr_assert_eq(first.status, STATUS_OK, "%s", first.error);
    struct buf printed = {0};
    config_print_values(&table, &first.settings, &printed);
    buf_append_byte(&printed, 0);
    struct loaded second = load((const char *)printed.data, NULL);
    cr_assert_eq(second.status, STATUS_OK, "%s", second.error);
    cr_assert_str_eq(second.settings.data_dir, first.settings.data_dir);
    cr_assert_str_eq(second.settings.peers, "x,y");
    cr_assert_eq(second.settings.skew, first.settings.skew);
    cr_assert_eq(second.settings.lease_reads, false);
    cr_assert_eq(second.settings.heartbeat_ms, 50);
    buf_done(&printed);
    config_free_values(&table, &first.settings);
    config_free_values(&table, &second.settings);
}

/* ---- lists and operands ---- */

struct call {
    struct config_list parts, operands;
    bool loud;
};

static const struct config_option call_options[] = {
    {"put", CONFIG_LIST, offsetof(struct call, parts), "", "", 0, 0, "sets"},
    {"add", CONFIG_LIST, offsetof(struct call, parts), "", "", 0, 0, "adds"},
    {"loud", CONFIG_BOOL, offsetof(struct call, loud), "false", "", 0, 0, "says so"},
};

static const struct config_table call_table = {
    .command = "call",
    .synopsis = "Calls.",
    .options = call_options,
    .option_count = sizeof(call_options) / sizeof(call_options[0]),
    .operands = "KEY [VALUE]",
    .operands_offset = offsetof(struct call, operands),
    .operands_min = 1,
    .operands_max = 2,
};

static enum status load_call(const char *const *arguments, struct call *ret_call,
                             char ret_error[512]) {
    char *argv[12];
    int argc = 0;
    bool help;
    struct buf error = {0};
    while (*arguments)
        argv[argc++] = (char *)(uintptr_t)*arguments++;
    enum status status = config_load(&call_table, argc, argv, ret_call, &help, &error);
    (void)snprintf(ret_error, 512, "%.*s", (int)error.len, (const char *)error.data);
    buf_done(&error);
    return status;
}

/* Operations are done in the order in which they were written, whichever options they are. */
Test(base_config, lists_keep_the_order_of_the_command_line) {
    struct call call = {0};
    char error[512];
    cr_assert_eq(load_call(ARGUMENTS("--put", "a", "key", "--add", "b", "--put=--c", "--loud"),
                           &call, error),
                 STATUS_OK, "%s", error);
    static const char *const wanted[][2] = {{"put", "a"}, {"add", "b"}, {"put", "--c"}};
    cr_assert_eq(call.parts.count, 3);
    for (size_t i = 0; i < 3; i++) {
        cr_expect_str_eq(call.parts.items[i].option, wanted[i][0]);
        cr_expect_str_eq(call.parts.items[i].text, wanted[i][1]);
    }
    cr_expect_eq(call.operands.count, 1);
    cr_expect_str_eq(call.operands.items[0].text, "key");
    cr_expect(call.loud);
    config_free_values(&call_table, &call);
    cr_expect_eq(call.parts.count, 0);
    config_free_values(&call_table, &call);
}

/* A mistyped option must not become a value that is written; numbers and "-" are meant. */
Test(base_config, operands_with_a_dash_are_told_from_options) {
    struct call call = {0};
    char error[512];
    cr_assert_eq(load_call(ARGUMENTS("key", "-17"), &call, error), STATUS_OK, "%s", error);
    cr_expect_str_eq(call.operands.items[1].text, "-17");
    config_free_values(&call_table, &call);
    cr_assert_eq(load_call(ARGUMENTS("key", "-"), &call, error), STATUS_OK, "%s", error);
    config_free_values(&call_table, &call);
    cr_assert_eq(load_call(ARGUMENTS("--", "--loud", "-x"), &call, error), STATUS_OK, "%s", error);
    cr_expect_eq(call.operands.count, 2);
    cr_expect(!call.loud);
    config_free_values(&call_table, &call);
    cr_expect_eq(load_call(ARGUMENTS("key", "-loud"), &call, error), STATUS_INVALID);
    cr_expect(strstr(error, "comes after --"), "%s", error);
    cr_expect_eq(load_call(ARGUMENTS("a", "b", "c"), &call, error), STATUS_INVALID);
    cr_expect(strstr(error, "KEY [VALUE]"), "%s", error);
    cr_expect_eq(load_call(ARGUMENTS("--loud"), &call, error), STATUS_INVALID);
    cr_expect(strstr(error, "missing"), "%s", error);
    cr_expect_eq(call.operands.count, 0, "untouched");
}

/* A variable that no command reads is a setting that somebody believes in. */
Test(base_config, unknown_variables_of_ours_are_refused) {
    const struct config_table *const tables[] = {&call_table, &table};
    struct buf error = {0};
    setenv("FLOTILLA_HEARTBEAT_MS", "60", 1);
    setenv("FLOTILLA_LOUD", "1", 1);
    setenv("FLOTILLA_CONFIG", "x", 1);
    cr_assert_eq(config_check_environment(tables, 2, &error), STATUS_OK, "%.*s", (int)error.len,
                 (const char *)error.data);
    setenv("FLOTILLA_HEARTBEAT_SM", "60", 1);
    cr_assert_eq(config_check_environment(tables, 2, &error), STATUS_INVALID);
    buf_append_byte(&error, 0);
    cr_expect(strstr((char *)error.data, "FLOTILLA_HEARTBEAT_SM in the environment"));
    cr_expect(strstr((char *)error.data, "did you mean FLOTILLA_HEARTBEAT_MS?"));
    unsetenv("FLOTILLA_HEARTBEAT_SM");
    buf_clear(&error);
    setenv("FLOTILLA_PUT", "a b", 1); /* lists are not taken from there */
    cr_expect_eq(config_check_environment(tables, 2, &error), STATUS_INVALID);
    buf_done(&error);
}
