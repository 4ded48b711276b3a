/* Keeps what would survive a loss of power, for tests/power_loss.py.
 *
 * Loaded with LD_PRELOAD. Of each file in the folder $POWER_LOSS_OF the content at its last fsync is
 * kept in $POWER_LOSS_KEPT/content, and the names at the last fsync of the folder itself in
 * $POWER_LOSS_KEPT/names: whatever was written, made or renamed after that is lost. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One thread at a time copies, so that no older copy replaces a newer one. */
static pthread_mutex_t copying = PTHREAD_MUTEX_INITIALIZER;

/* Copies are renamed when they are whole: a kill may come at any moment. */
static void keep_content(const char *path, const char *kept) {
    char target[PATH_MAX], partial[PATH_MAX + 8], chunk[65536];
    const char *name = strrchr(path, '/') + 1;
    snprintf(target, sizeof target, "%s/content/%s", kept, name);
    snprintf(partial, sizeof partial, "%s.part", target);
    int from = open(path, O_RDONLY), to = open(partial, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (ssize_t n; from >= 0 && to >= 0 && (n = read(from, chunk, sizeof chunk)) > 0;)
        if (write(to, chunk, n) != n) abort();
    if (from >= 0) close(from);
    if (to >= 0) close(to);
    if (from >= 0 && to >= 0) rename(partial, target);
}

static void keep_names(const char *folder, const char *kept) {
    char path[PATH_MAX], partial[PATH_MAX + 8];
    snprintf(path, sizeof path, "%s/names", kept);
    snprintf(partial, sizeof partial, "%s.part", path);
    FILE *names = fopen(partial, "w");
    DIR *listing = opendir(folder);
    for (struct dirent *entry; names && listing && (entry = readdir(listing));)
        if (entry->d_name[0] != '.') fprintf(names, "%s\n", entry->d_name);
    if (listing) closedir(listing);
    if (names && !fclose(names)) rename(partial, path);
}

static void keep(int fd) {
    const char *folder = getenv("POWER_LOSS_OF"), *kept = getenv("POWER_LOSS_KEPT");
    char link[64], path[PATH_MAX];
    if (!folder || !kept) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return;
    path[length] = 0;
    size_t prefix = strlen(folder);
    if (strncmp(path, folder, prefix)) return;
    pthread_mutex_lock(&copying);
    if (path[prefix] == '/') keep_content(path, kept);
    else if (!path[prefix]) keep_names(path, kept);
    pthread_mutex_unlock(&copying);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    int result = real(fd);
    if (!result) keep(fd);
    return result;
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int result = real(fd);
    if (!result) keep(fd);
    return result;
}
