#include "txn/number.h"

/* The magnitude is built as a negative number, because INT64_MIN has no positive counterpart. */
bool txn_number_parse(struct slice text, int64_t *ret_number) {
    bool negative = text.len > 0 && text.data[0] == '-';
    size_t first = negative ? 1 : 0;
    if (first == text.len || text.len > TXN_NUMBER_TEXT_BYTES_MAX) return false;
    if (text.data[first] == '0' && text.len > 1) return false;
    int64_t number = 0;
    for (size_t i = first; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') return false;
        if (__builtin_mul_overflow(number, 10, &number)) return false;
        if (__builtin_sub_overflow(number, text.data[i] - '0', &number)) return false;
    }
    if (!negative && __builtin_sub_overflow(0, number, &number)) return false;
    *ret_number = number;
    return true;
}

size_t txn_number_format(int64_t number, uint8_t *text) {
    uint8_t digits[TXN_NUMBER_TEXT_BYTES_MAX];
    size_t count = 0, len = 0;
    uint64_t magnitude = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do {
        digits[count++] = (uint8_t)('0' + magnitude % 10);
        magnitude /= 10;
    } while (magnitude > 0);
    if (number < 0) text[len++] = '-';
    while (count > 0)
        text[len++] = digits[--count];
    return len;
}
