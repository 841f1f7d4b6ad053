/* Names of options, for config.c. */
#ifndef FLOTILLA_BASE_CONFIG_NAMES_H
#define FLOTILLA_BASE_CONFIG_NAMES_H

#include "base/config.h"

#define CONFIG_NAME_BYTES_MAX 64u
#define CONFIG_VARIABLE_BYTES_MAX (CONFIG_NAME_BYTES_MAX + 16u)
/* Names that are further apart than so many edits are no typing error. */
#define CONFIG_TYPING_ERRORS_MAX 2u

/* "FLOTILLA_DATA_DIR" of "data-dir". */
void config_environment_name(const char *name, char ret_text[CONFIG_VARIABLE_BYTES_MAX]);
const struct config_option *config_find_option(const struct config_table *table, struct slice name);
/* The nearest name, at most *distance_max edits away, which becomes what a nearer one would need;
 * NULL: none is so near. */
const struct config_option *config_nearest_option(const struct config_table *table,
                                                  struct slice name, size_t *distance_max);

#endif
