/* A line is built on the stack and leaves in one write(2), so that lines of several threads, or of
 * several processes that share the descriptor, do not mix. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

#define LOG_LINE_BYTES_MAX 4096u
#define KEY_RING_SLOTS 8u
#define KEY_TEXT_BYTES_MAX 192u

enum log_level log_level_current = LOG_INFO;

static int log_fd = STDERR_FILENO;
static bool user_keys_shown;

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn",
    [LOG_ERROR] = "error", [LOG_NONE] = "none",
};

void log_set_level(enum log_level level) {
    log_level_current = level;
}

bool log_level_parse(const char *text, enum log_level *ret_level) {
    for (int level = LOG_DEBUG; level <= LOG_NONE; level++) {
        if (strcmp(text, level_names[level]) != 0) continue;
        *ret_level = (enum log_level)level;
        return true;
    }
    return false;
}

void log_set_user_keys(bool shown) {
    user_keys_shown = shown;
}

void log_set_fd(int fd) {
    log_fd = fd;
}

/* "2026-11-21T03:04:05.678901Z info event " into the line; returns its length. */
static size_t write_prefix(char *line, size_t size, enum log_level level, const char *event) {
    struct timespec now;
    struct tm utc;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0 || !gmtime_r(&now.tv_sec, &utc)) {
        now = (struct timespec){0};
        utc = (struct tm){.tm_mday = 1, .tm_year = 70};
    }
    size_t len = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
    int added = snprintf(line + len, size - len, ".%06ldZ %s %s ", now.tv_nsec / 1000,
                         level_names[level], event);
    return len + (added > 0 ? (size_t)added : 0);
}

static void write_fully(const char *line, size_t len) {
    while (len > 0) {
        ssize_t written = write(log_fd, line, len);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return; /* nobody is left to tell that the log cannot be written */
        line += written;
        len -= (size_t)written;
    }
}

void log_write(enum log_level level, const char *event, const char *format, ...) {
    static const char cut_mark[] = " ...";
    int saved_errno = errno;
    char line[LOG_LINE_BYTES_MAX];
    size_t room = sizeof(line) - sizeof(cut_mark); /* for the mark or the line's end */
    size_t len = write_prefix(line, room, level, event);
    if (len >= room) len = room - 1;
    va_list arguments;
    va_start(arguments, format);
    int added = vsnprintf(line + len, room - len, format, arguments);
    va_end(arguments);
    size_t text_start = len;
    bool cut = added >= 0 && (size_t)added >= room - len;
    if (added > 0) len = cut ? room - 1 : len + (size_t)added;
    /* One event, one line, whatever a value contains. */
    for (size_t i = text_start; i < len; i++) {
        unsigned char byte = (unsigned char)line[i];
        if (byte < 0x20 || byte == 0x7f) line[i] = '?';
    }
    if (cut) {
        memcpy(line + len, cut_mark, sizeof(cut_mark) - 1);
        len += sizeof(cut_mark) - 1;
    }
    line[len++] = '\n';
    write_fully(line, len);
    errno = saved_errno;
}

static char *ring_slot(void) {
    static _Thread_local char ring[KEY_RING_SLOTS][KEY_TEXT_BYTES_MAX];
    static _Thread_local unsigned next;
    return ring[next++ % KEY_RING_SLOTS];
}

/* A byte that can stand unquoted in key=value text. */
static bool is_plain(uint8_t byte) {
    return byte > 0x20 && byte < 0x7f && byte != '\\' && byte != '"' && byte != '=';
}

const char *log_bytes(struct slice bytes) {
    static const char hex[] = "0123456789abcdef";
    char *text = ring_slot();
    size_t len = 0;
    if (bytes.len == 0) return "\"\"";
    for (size_t i = 0; i < bytes.len; i++) {
        if (len + sizeof("\\xff...") > KEY_TEXT_BYTES_MAX) {
            memcpy(text + len, "...", 3);
            len += 3;
            break;
        }
        if (is_plain(bytes.data[i])) {
            text[len++] = (char)bytes.data[i];
        } else {
            text[len++] = '\\';
            text[len++] = 'x';
            text[len++] = hex[bytes.data[i] >> 4];
            text[len++] = hex[bytes.data[i] & 15];
        }
    }
    ASSERT_CMP(len, <, KEY_TEXT_BYTES_MAX);
    text[len] = 0;
    return text;
}

const char *log_key(struct slice user_key) {
    if (user_keys_shown) return log_bytes(user_key);
    char *text = ring_slot();
    (void)snprintf(text, KEY_TEXT_BYTES_MAX, "redacted:%zuB", user_key.len); /* always fits */
    return text;
}
