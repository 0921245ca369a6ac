/* Lets the disk under the site's database fail. Loaded into the server in front of the C library; as long as the file
 * that SELFSAME_DISK_FAULT names is there, what it says happens to every write or sync of that database:
 * `full` (ENOSPC on write), `write` (EIO on write), `sync` (EIO on sync), `slow` (every write takes two milliseconds
 * longer, so that what strikes the process strikes it between the writes of one commit). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(int file, const char *how) {
    const char *order = getenv("SELFSAME_DISK_FAULT");
    char text[16] = {0}, link[64], path[4096] = {0};
    int saved = errno, found = -1;
    if (order != NULL && (found = open(order, O_RDONLY | O_CLOEXEC)) >= 0) {
        if (read(found, text, sizeof text - 1) < 0) text[0] = 0;
        close(found);
    }
    errno = saved;
    if (found < 0 || strcmp(text, how) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    if (readlink(link, path, sizeof path - 1) < 0) path[0] = 0;
    errno = saved;
    return strstr(path, "/site.db") != NULL;
}

#define WRITE(name, offset_type, ...)                                                          \
    ssize_t name(int file, const void *bytes, size_t count __VA_OPT__(, offset_type offset)) { \
        static ssize_t (*next)(int, const void *, size_t __VA_OPT__(, offset_type));           \
        if (next == NULL) *(void **)&next = dlsym(RTLD_NEXT, #name);                           \
        if (fails(file, "full")) return errno = ENOSPC, -1;                                    \
        if (fails(file, "write")) return errno = EIO, -1;                                      \
        if (fails(file, "slow")) usleep(2000);                                                 \
        return next(file, bytes, count __VA_OPT__(, offset));                                  \
    }

WRITE(write, void)
WRITE(pwrite, off_t, offset)
WRITE(pwrite64, off64_t, offset)

#define SYNC(name)                                                   \
    int name(int file) {                                             \
        static int (*next)(int);                                     \
        if (next == NULL) *(void **)&next = dlsym(RTLD_NEXT, #name); \
        if (fails(file, "sync")) return errno = EIO, -1;             \
        return next(file);                                           \
    }

SYNC(fsync)
SYNC(fdatasync)
