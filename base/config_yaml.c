/* Walks libyaml's events. The states follow the only accepted shape:
 *
 *   stream start, document start, mapping start,
 *     { key, ( scalar | sequence start, { scalar }, sequence end ) }
 *   mapping end, document end, stream end
 *
 * Duplicate keys are refused: which of two values counts is not for us to guess. */
#include "base/config_yaml.h"

#include <yaml.h>

#include "base/hashmap.h"
#include "base/list.h"
#include "base/memory.h"

struct seen_key {
    struct bytesmap_node node;
    struct buf name;
};

struct reader {
    yaml_parser_t parser;
    const struct config_yaml_receiver *receiver;
    struct buf *error;
    struct bytesmap seen;  /* of struct seen_key */
    struct buf key, value; /* of the pair being read, both ending in a NUL that counts */
    size_t key_line;
};

/* Fetches the next event, which the caller deletes on OK. */
static enum status next_event(struct reader *reader, yaml_event_t *ret_event) {
    if (yaml_parser_parse(&reader->parser, ret_event)) return STATUS_OK;
    const char *problem = reader->parser.problem;
    buf_printf(reader->error, "line %zu: not valid YAML: %s", reader->parser.problem_mark.line + 1,
               problem ? problem : "unreadable");
    return STATUS_INVALID;
}

static enum status refuse(struct reader *reader, const yaml_event_t *event, const char *reason) {
    buf_printf(reader->error, "line %zu: %s", event->start_mark.line + 1, reason);
    return STATUS_INVALID;
}

static enum status append_scalar(struct reader *reader, const yaml_event_t *event,
                                 struct buf *into) {
    struct slice text = slice_make(event->data.scalar.value, event->data.scalar.length);
    if (text.len > 0 && memchr(text.data, 0, text.len)) {
        return refuse(reader, event, "text must not contain a NUL byte");
    }
    if (text.len == 0 && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        return refuse(reader, event, "a value is missing (write \"\" for an empty text)");
    }
    buf_append(into, text);
    return STATUS_OK;
}

static enum status read_list(struct reader *reader) {
    bool first = true;
    for (;;) {
        yaml_event_t event;
        enum status status = next_event(reader, &event);
        if (status != STATUS_OK) return status;
        bool ended = event.type == YAML_SEQUENCE_END_EVENT;
        if (!ended && event.type != YAML_SCALAR_EVENT) {
            status = refuse(reader, &event, "a list may hold plain values only");
        } else if (!ended) {
            if (!first) buf_append_byte(&reader->value, ',');
            first = false;
            status = append_scalar(reader, &event, &reader->value);
        }
        yaml_event_delete(&event);
        if (ended || status != STATUS_OK) return status;
    }
}

static enum status read_value(struct reader *reader) {
    yaml_event_t event;
    enum status status = next_event(reader, &event);
    if (status != STATUS_OK) return status;
    buf_clear(&reader->value);
    if (event.type == YAML_SCALAR_EVENT) {
        status = append_scalar(reader, &event, &reader->value);
    } else if (event.type == YAML_SEQUENCE_START_EVENT) {
        status = read_list(reader);
    } else {
        status = refuse(reader, &event, "a value must be plain or a list of plain values");
    }
    yaml_event_delete(&event);
    if (status != STATUS_OK) return status;
    buf_append_byte(&reader->value, 0);
    return reader->receiver->on_value(reader->receiver->ctx, (const char *)reader->key.data,
                                      (const char *)reader->value.data, reader->key_line);
}

static enum status read_key(struct reader *reader, const yaml_event_t *event) {
    if (event->type != YAML_SCALAR_EVENT) return refuse(reader, event, "a key must be plain text");
    buf_clear(&reader->key);
    enum status status = append_scalar(reader, event, &reader->key);
    if (status != STATUS_OK) return status;
    if (bytesmap_get(&reader->seen, slice_from_buf(&reader->key))) {
        return refuse(reader, event, "the key is given twice");
    }
    struct seen_key *seen = MEMORY_NEW(struct seen_key);
    seen->name = buf_from_slice(slice_from_buf(&reader->key));
    bytesmap_put(&reader->seen, &seen->node, slice_from_buf(&seen->name));
    buf_append_byte(&reader->key, 0);
    reader->key_line = event->start_mark.line + 1;
    return STATUS_OK;
}

static enum status read_mapping(struct reader *reader) {
    for (;;) {
        yaml_event_t event;
        enum status status = next_event(reader, &event);
        if (status != STATUS_OK) return status;
        bool ended = event.type == YAML_MAPPING_END_EVENT;
        if (!ended) status = read_key(reader, &event);
        yaml_event_delete(&event);
        if (ended || status != STATUS_OK) return status;
        status = read_value(reader);
        if (status != STATUS_OK) return status;
    }
}

/* Outside the mapping there is only its frame, and exactly one document. */
static enum status read_stream(struct reader *reader) {
    unsigned documents = 0;
    for (;;) {
        yaml_event_t event;
        enum status status = next_event(reader, &event);
        if (status != STATUS_OK) return status;
        yaml_event_type_t type = event.type;
        if (type == YAML_DOCUMENT_START_EVENT && ++documents > 1) {
            status = refuse(reader, &event, "there must be one document only");
        } else if (type == YAML_MAPPING_START_EVENT) {
            status = read_mapping(reader);
        } else if (type == YAML_SCALAR_EVENT || type == YAML_SEQUENCE_START_EVENT ||
                   type == YAML_ALIAS_EVENT) {
            status = refuse(reader, &event, "expected lines of `key: value`");
        }
        yaml_event_delete(&event);
        if (type == YAML_STREAM_END_EVENT || status != STATUS_OK) return status;
    }
}

enum status config_yaml_read(struct slice text, const struct config_yaml_receiver *receiver,
                             struct buf *error) {
    struct reader reader = {.receiver = receiver, .error = error};
    /* It can only fail for want of memory. */
    if (!yaml_parser_initialize(&reader.parser)) {
        buf_printf(error, "out of memory");
        return STATUS_INVALID;
    }
    yaml_parser_set_input_string(&reader.parser, text.data, text.len);
    enum status status = read_stream(&reader);
    yaml_parser_delete(&reader.parser);

    struct bytesmap_node *node = bytesmap_next(&reader.seen, NULL);
    while (node) {
        struct seen_key *seen = CONTAINER_OF(node, struct seen_key, node);
        node = bytesmap_next(&reader.seen, node);
        buf_done(&seen->name);
        memory_free(seen);
    }
    bytesmap_done(&reader.seen);
    buf_done(&reader.key);
    buf_done(&reader.value);
    return status;
}
