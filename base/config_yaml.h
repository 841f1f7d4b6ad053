/* The part of YAML that a configuration needs: one mapping of scalars and of lists of scalars.
 * Internal to base/config.c. */
#ifndef FLOTILLA_BASE_CONFIG_YAML_H
#define FLOTILLA_BASE_CONFIG_YAML_H

#include "base/slice.h"
#include "base/status.h"

/* Receives one key with its value as text (a list joined by commas), both valid during the call and
 * free of NUL bytes. `line` is the key's, from 1. Another status than OK ends the reading; the
 * receiver has then described the reason in its own error text. */
struct config_yaml_receiver {
    void *ctx;
    enum status (*on_value)(void *ctx, const char *key, const char *value, size_t line);
};

/* INVALID: not such a document; `error` gets the reason with its line, without the file's name.
 * Otherwise what the receiver answered. An empty document has no values. */
enum status config_yaml_read(struct slice text, const struct config_yaml_receiver *receiver,
                             struct buf *error) MUST_CHECK;

#endif
