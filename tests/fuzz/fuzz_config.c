/* Any bytes as the YAML file: loading either explains itself and leaves the target alone, or gives
 * values that print to a file which loads to the same values. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct settings {
    char *text;
    uint64_t bounded, unbounded;
    double real;
    bool truth;
};

static const struct config_option options[] = {
    {"text", CONFIG_TEXT, offsetof(struct settings, text), "", "", 0, 0, "text"},
    {"bounded", CONFIG_U64, offsetof(struct settings, bounded), "5", "ms", 1, 10, "bounded"},
    {"unbounded", CONFIG_U64, offsetof(struct settings, unbounded), "0", "", 0, 0, "unbounded"},
    {"real", CONFIG_DOUBLE, offsetof(struct settings, real), "0.5", "", 0, 0, "real"},
    {"truth", CONFIG_BOOL, offsetof(struct settings, truth), "no", "", 0, 0, "truth"},
};

static const struct config_table table = {
    .command = "fuzz",
    .synopsis = "",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
};

static enum status load(struct slice yaml, struct settings *settings, struct buf *error) {
    int fd = memfd_create("config", MFD_CLOEXEC);
    ASSERT(fd >= 0);
    ASSERT(write(fd, yaml.data, yaml.len) == (ssize_t)yaml.len);
    char argument[64];
    (void)snprintf(argument, sizeof(argument), "--config=/proc/self/fd/%d", fd); /* always fits */
    char *arguments[] = {argument};
    bool help = true;
    enum status status = config_load(&table, 1, arguments, settings, &help, error);
    ASSERT(status != STATUS_OK || !help);
    (void)close(fd); /* a file in memory */
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 1 << 16) return 0;
    struct settings first = {0}, second = {0};
    struct buf error = {0}, printed = {0}, printed_again = {0};
    if (load(slice_make(data, size), &first, &error) != STATUS_OK) {
        ASSERT(error.len > 0);
        ASSERT(first.text == NULL && first.bounded == 0);
    } else {
        ASSERT(first.bounded >= 1 && first.bounded <= 10);
        config_print_values(&table, &first, &printed);
        ASSERT(load(slice_from_buf(&printed), &second, &error) == STATUS_OK);
        config_print_values(&table, &second, &printed_again);
        ASSERT(slice_equal(slice_from_buf(&printed), slice_from_buf(&printed_again)));
    }
    config_free_values(&table, &first);
    config_free_values(&table, &second);
    buf_done(&error);
    buf_done(&printed);
    buf_done(&printed_again);
    return 0;
}
