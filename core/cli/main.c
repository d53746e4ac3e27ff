/* main.c: where the program starts. It reads the command line and runs a command; what commands
 * there are stands in commands.def, what they do in cmd_<name>.c. */
#include "base/banned.h"
#include "cli/command.h"
#include "cli/libraries.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Where a standard stream is closed it becomes /dev/null. Else its number would go to the next
 * thing that is opened, and the log into somebody's connection. */
static bool open_standard_streams(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

int main(int argc, char **argv)
{
    struct tg_args args;
    if (!open_standard_streams())
        return TG_EXIT_SYSTEM;
    tg_libraries_adopt();
    if (tg_args_parse(tg_commands, argc, argv, &args, stderr) != TG_OK)
        return TG_EXIT_USAGE;
    int status = args.command->run(&args);
    bool flushed = fflush(stdout) == 0;
    if (flushed && ferror(stdout) == 0)
        return status;
    fprintf(stderr, "tidegate %s: cannot write all of the output: %s\n", args.command->name,
            flushed ? "a part of it was not taken" : strerror(errno));
    return status == TG_EXIT_OK ? TG_EXIT_SYSTEM : status;
}
