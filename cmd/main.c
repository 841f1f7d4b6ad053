/* flotilla: one binary, a subcommand per role. */
#include <stdio.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "cmd/commands.h"
#include "cmd/signals.h"

/* Read by jemalloc at start. Huge pages: an insert into a large memtable touches some twenty pages,
 * and looking up small ones took a tenth of a put's processor time. MALLOC_CONF in the environment
 * wins. */
extern const char *malloc_conf;
const char *malloc_conf = "thp:always";

#if defined(__has_feature)
#define LOOKS_FOR_LEAKS (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOOKS_FOR_LEAKS 1
#else
#define LOOKS_FOR_LEAKS 0
#endif

/* A command has closed all that it opened. What libraries would still do at the exit, for the sake
 * of memory that the kernel takes back anyway, comes after the last line of the log and keeps ports
 * and locks from who waits for the end. Sanitizers report at the exit, so they get theirs. */
static int leave(int code) {
    if (LOOKS_FOR_LEAKS) return code;
    (void)fflush(NULL); /* nobody to tell when they are gone */
    _exit(code);
}

int main(int argument_count, char **arguments) {
    signals_block();
    descriptors_raise();
    return leave(commands_run(argument_count - 1, arguments + 1));
}
