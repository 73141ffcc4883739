/* Preloaded into a test's child: system calls that fail when the file of SKEP_FAULT says so, and a list of syncs.
 *
 * SKEP_FAULT names a file with one line: CALL ERRNO END. While it is there, CALL (write or sync) fails with ERRNO on files
 * whose name ends with END. SKEP_SYNCS names a file that gets one letter for every sync of a log (l) or of the file (f). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int ends(const char *text, const char *end) {
    size_t have = strlen(text), want = strlen(end);
    return have >= want && strcmp(text + have - want, end) == 0;
}

static void name_of(int fd, char *name, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, size - 1);
    name[length < 0 ? 0 : length] = 0;
}

static int fails(const char *call, int fd) {
    char name[4096], wanted[16], end[64];
    int code;
    const char *path = getenv("SKEP_FAULT");
    FILE *fault = path ? fopen(path, "r") : 0;
    if (!fault) return 0;
    int read = fscanf(fault, "%15s %d %63s", wanted, &code, end);
    fclose(fault);
    name_of(fd, name, sizeof name);
    if (read != 3 || strcmp(wanted, call) != 0 || !ends(name, end)) return 0;
    errno = code;
    return 1;
}

static void count(int fd) {
    char name[4096];
    const char *path = getenv("SKEP_SYNCS");
    FILE *syncs = path ? fopen(path, "a") : 0;
    if (!syncs) return;
    name_of(fd, name, sizeof name);
    if (ends(name, "-wal")) fputc('l', syncs);
    if (ends(name, ".db")) fputc('f', syncs);
    fclose(syncs);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) {
    count(fd);
    return fails("sync", fd) ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd) {
    count(fd);
    return fails("sync", fd) ? -1 : REAL(fdatasync)(fd);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    return fails("write", fd) ? -1 : REAL(pwrite)(fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    return fails("write", fd) ? -1 : REAL(pwrite64)(fd, bytes, count, offset);
}
