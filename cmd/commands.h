/* The subcommands of the binary. Each gets the arguments after its name and returns the process's
 * exit code: 0 done, 1 failed, 2 called wrongly. */
#ifndef FLOTILLA_CMD_COMMANDS_H
#define FLOTILLA_CMD_COMMANDS_H

enum { CMD_OK = 0, CMD_FAILED = 1, CMD_USAGE = 2 };

int cmd_placement(int argument_count, char **arguments);
int cmd_node(int argument_count, char **arguments);
int cmd_router(int argument_count, char **arguments);
int cmd_bench(int argument_count, char **arguments);
int cmd_admin(int argument_count, char **arguments);
int cmd_demo(int argument_count, char **arguments);

#endif
