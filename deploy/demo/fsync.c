/* Preloaded into Redis: every fsync takes six seconds while the file named by FSYNC_SLOW exists. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int delayed(int file, const char *name) {
    const char *slow = getenv("FSYNC_SLOW");
    if (slow && access(slow, F_OK) == 0) sleep(6);
    return ((int (*)(int)) dlsym(RTLD_NEXT, name))(file);
}

int fsync(int file) { return delayed(file, "fsync"); }
int fdatasync(int file) { return delayed(file, "fdatasync"); }
