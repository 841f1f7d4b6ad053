/* Asserts stay on in production: a broken invariant stops the process before it lies. */
#ifndef FLOTILLA_BASE_ASSERT_H
#define FLOTILLA_BASE_ASSERT_H

#include <stdint.h>

_Noreturn void assert_fail(const char *file, int line, const char *expression);
_Noreturn void assert_fail_u64(const char *file, int line, const char *expression, uint64_t left,
                               uint64_t right);
/* A fault outside the code (disk, engine) after which going on would break a promise. The text is
 * the last line of the log. */
_Noreturn void fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* What fatal() does instead of logging its reason and aborting: for a simulator, which holds the
 * processes of many machines in one and ends only that whose disk failed. It leaves by a long jump;
 * when it returns, fatal() goes on as ever. To be set before threads start; NULL: none. */
typedef void fatal_handler(const char *reason);
void fatal_set_handler(fatal_handler *handler);

#define ASSERT(expression)                                               \
    do {                                                                 \
        if (!(expression)) assert_fail(__FILE__, __LINE__, #expression); \
    } while (0)

/* ASSERT_CMP(index, <=, last_index): prints both values. */
#define ASSERT_CMP(left, op, right)                                                     \
    do {                                                                                \
        uint64_t assert_left_ = (uint64_t)(left), assert_right_ = (uint64_t)(right);    \
        if (!(assert_left_ op assert_right_))                                           \
            assert_fail_u64(__FILE__, __LINE__, #left " " #op " " #right, assert_left_, \
                            assert_right_);                                             \
    } while (0)

#endif
