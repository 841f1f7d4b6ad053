/* Network addresses as text: HOST:PORT. The one place that reads them, for options, for what peers
 * and placement tell, and for what is listened on; a port that does not fit would be cut to its
 * lower 16 bits by whoever takes it later. */
#ifndef FLOTILLA_BASE_ADDRESS_H
#define FLOTILLA_BASE_ADDRESS_H

#include "base/slice.h"

enum address_use {
    ADDRESS_TO_DIAL,  /* port 1 to 65535 */
    ADDRESS_TO_LISTEN /* and 0: any free one */
};

#define ADDRESS_BYTES_MAX 256u /* all of it; placement stores no longer ones */

struct address {
    struct slice host; /* a name or a number, without brackets; borrows from the text */
    uint16_t port;
};

/* HOST is a name, an IPv4 address or an IPv6 address in brackets: printable bytes without blanks,
 * commas and slashes. Returns NULL, or what is wrong: "has a port that ...", to be put behind the
 * address. ret_address may be NULL. */
const char *address_parse(struct slice text, enum address_use use, struct address *ret_address);
/* The same for a comma-separated list of at least one, all to be dialled. */
const char *address_list_problem(struct slice text);

#endif
