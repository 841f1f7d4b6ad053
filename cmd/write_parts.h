/* The notation of `flotilla write`: guards and operations as texts of the command line.
 *
 *   guard   exists KEY | absent KEY | equals KEY VALUE | version KEY N
 *           unchanged KEY N | unchanged START END N
 *   put     KEY VALUE
 *   insert  KEY VALUE
 *   delete  KEY
 *   add     KEY DELTA [min N] [max N]
 *
 * Words are separated by blanks. A VALUE is all that follows the one blank behind the key. A KEY
 * (or START, END) with blanks in it stands in double quotes; there, and only there, \" \\ and \xHH
 * mean a quote, a backslash and a byte. With `hex` keys and values are hexadecimal. A VALUE of - is
 * standard input. */
#ifndef FLOTILLA_CMD_WRITE_PARTS_H
#define FLOTILLA_CMD_WRITE_PARTS_H

#include "base/config.h"
#include "txn/command.h"

struct write_parts {
    struct arena arena; /* of everything below */
    struct txn_command command;
    /* Whose value is standard input; NULL: none is. It is the caller's to fill in. */
    struct slice *input;
};

/* `list`: items named guard, put, insert, delete and add. INVALID: `error` quotes the part and says
 * what is wrong and what is right. To be freed in either case. */
enum status write_parts_parse(const struct config_list *list, bool hex, struct write_parts *ret,
                              struct buf *error) MUST_CHECK;
void write_parts_done(struct write_parts *parts);

#endif
