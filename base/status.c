/* Names and texts of the status table. */
#include "base/status.h"

const char *status_name(enum status status) {
    switch (status) {
#define STATUS_NAME_CASE(name, value, text) \
    case STATUS_##name:                     \
        return #name;
        STATUS_TABLE(STATUS_NAME_CASE)
#undef STATUS_NAME_CASE
    }
    return "UNKNOWN_STATUS";
}

const char *status_text(enum status status) {
    switch (status) {
#define STATUS_TEXT_CASE(name, value, text) \
    case STATUS_##name:                     \
        return text;
        STATUS_TABLE(STATUS_TEXT_CASE)
#undef STATUS_TEXT_CASE
    }
    return "unknown status";
}
