/* Operations on files below a folder, counted, and one of them failed, or the process held before and after each; for
   LD_PRELOAD.

   All processes share one count, and take turns: while one is held, none of the others gets past its next operation, so
   that the folder stays as a kill of all of them would leave it. A held process can be forked, with what it has open
   below <root>.held opened below the root, and the operation failed in the new one. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST = 1 << 16, HOLD = -1, BEFORE = 1, TORN, AFTER };
static struct {
    pthread_mutex_t turn;
    char root[4096];
    int fault;
    long at, count;
    volatile int held, holder, error, code;
    pid_t harness;
    int opened; /* temporary files that were there before */
    char kinds[MOST];
} *shared;

static int armed; /* of this process, and of those that it forks */
static void (*first)(void); /* called before this process first looks below the root */
static int (*divide)(void); /* forks: 0 in the new process, in this one 1 and its exit code */

void faults_root(const char *root, int (*call)(void)) {
    shared = mmap(0, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    strcpy(shared->root, root), divide = call, shared->harness = getpid();
}
void faults_first(void (*call)(void)) { first = call; }

/* Count from 0 what armed processes do; fault: errno of operation number `at`, HOLD before and after each one, or 0. */
void faults_begin(int fault, long at) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&shared->turn, &attributes);
    memset(shared->kinds, 0, MOST);
    shared->fault = fault, shared->at = at, shared->count = shared->held = 0;
}
void faults_arm(void) { armed = 1; }
const char *faults_kinds(void) { return shared->kinds; }
int faults_held(void) { return shared->held; } /* BEFORE the last of these, in the midst of it, or AFTER it */
int faults_holder(void) { return shared->holder; }
int faults_opened(void) { return shared->opened; }
void faults_go(void) { shared->held = 0; }
int faults_divide(int error) { /* exit code of the held process if its next operation fails */
    for (shared->error = error; shared->error;) usleep(300);
    return shared->code;
}

static void adopt(void) { /* let descriptors of <root>.held be those of its copy, at the root, and locks too */
    char link[64], path[4096];
    size_t length = strlen(shared->root);
    for (int file = 3; file < 256; file++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        ssize_t end = readlink(link, path, sizeof path - 1);
        if (end < 0 || (path[end] = 0, strncmp(path, shared->root, length)) || strncmp(path + length, ".held", 5)) continue;
        memmove(path + length, path + length + 5, end - length - 4);
        int copy = open(path, fcntl(file, F_GETFL) & ~(O_CREAT | O_EXCL | O_TRUNC) | O_CLOEXEC);
        if (copy < 0) continue; /* of a file that was removed */
        lseek(copy, lseek(file, 0, SEEK_CUR), SEEK_SET);
        dup3(copy, file, O_CLOEXEC), close(copy);
        if (strstr(path, "lock")) flock(file, LOCK_EX | LOCK_NB);
    }
}

static int hold(int when) { /* 1 in a process that is forked here, which is not looked at */
    shared->holder = getpid();
    for (shared->held = when; shared->held;) {
        usleep(300);
        if (kill(shared->harness, 0)) _exit(1);
        if (!shared->error) continue;
        int error = shared->error, code = divide();
        if (!code) return armed = 0, adopt(), errno = error, 1;
        shared->code = code - 1, shared->error = 0;
    }
    return 0;
}

static int is_below(const char *path) {
    size_t length = strlen(shared->root);
    return !strncmp(path, shared->root, length) && path[length] == '/';
}

static int is_counted(int folder, const char *path) { /* "": what the descriptor itself names */
    char whole[8192], link[64];
    if (!armed && !first) return 0;
    if (path[0] != '/') {
        snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, whole, 4000);
        if (length < 0) return 0;
        whole[length] = 0;
        if (path[0]) snprintf(whole + length, 4096, "/%s", path);
        path = whole;
    }
    void (*call)(void) = first;
    if (call && (is_below(path) || !strcmp(path, shared->root))) first = 0, call();
    return armed && is_below(path);
}

static int fails(char kind) { /* with the turn taken */
    shared->kinds[shared->count++] = kind;
    if (shared->fault == HOLD) return hold(BEFORE);
    if (!shared->fault || shared->count != shared->at) return 0;
    errno = shared->fault;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define OPERATION(kind, counted, call) do { \
    if (!(counted)) return call; \
    pthread_mutex_lock(&shared->turn); \
    __typeof__(call) result = fails(kind) ? -1 : call; \
    int error = errno; \
    if (armed && shared->fault == HOLD) hold(AFTER); \
    if (armed) pthread_mutex_unlock(&shared->turn); \
    errno = error; \
    return result; } while (0)

#define LOOK(type, name, parameters, folder, path, call) type name parameters { is_counted(folder, path); return call; }
LOOK(int, stat, (const char *path, struct stat *to), AT_FDCWD, path, REAL(stat)(path, to))
LOOK(int, stat64, (const char *path, struct stat64 *to), AT_FDCWD, path, REAL(stat64)(path, to))
LOOK(int, lstat, (const char *path, struct stat *to), AT_FDCWD, path, REAL(lstat)(path, to))
LOOK(int, lstat64, (const char *path, struct stat64 *to), AT_FDCWD, path, REAL(lstat64)(path, to))
LOOK(int, fstatat64, (int a, const char *path, struct stat64 *to, int how), a, path, REAL(fstatat64)(a, path, to, how))
LOOK(int, access, (const char *path, int mode), AT_FDCWD, path, REAL(access)(path, mode))
LOOK(DIR *, opendir, (const char *path), AT_FDCWD, path, REAL(opendir)(path))

#define IS_THERE(folder, path) (is_counted(folder, path) && !faccessat(folder, path, F_OK, AT_SYMLINK_NOFOLLOW))
#define OPEN(name, prefix, folder, call) \
int name(prefix const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, int); va_end(rest); \
    if (shared && is_below(path) && strstr(path, ".partial-left")) shared->opened++; \
    OPERATION('o', is_counted(folder, path) && (flags & O_ACCMODE) != O_RDONLY, call); }
#define COMMA ,
OPEN(open, , AT_FDCWD, REAL(open)(path, flags, mode))
OPEN(open64, , AT_FDCWD, REAL(open64)(path, flags, mode))
OPEN(openat, int folder COMMA, folder, REAL(openat)(folder, path, flags, mode))
OPEN(openat64, int folder COMMA, folder, REAL(openat64)(folder, path, flags, mode))

ssize_t write(int file, const void *data, size_t size) { /* a held one is torn: half of it, held, and the rest */
    if (!is_counted(file, "")) return REAL(write)(file, data, size);
    pthread_mutex_lock(&shared->turn);
    ssize_t half = fails('w') ? -1 : shared->fault == HOLD ? (ssize_t)size / 2 : 0, rest = -1;
    if (half > 0 && REAL(write)(file, data, half) == half) hold(TORN);
    if (half >= 0) rest = REAL(write)(file, (const char *)data + half, size - half);
    int error = errno;
    if (armed && shared->fault == HOLD) hold(AFTER);
    if (armed) pthread_mutex_unlock(&shared->turn);
    errno = error;
    return rest == -1 ? -1 : half + rest;
}
/* refused, so that Python copies by writes, which can be torn */
ssize_t sendfile(int to, int from, off_t *start, size_t size) { return is_counted(to, "") ? (errno = ENOTSOCK, -1) : REAL(sendfile)(to, from, start, size); }
ssize_t sendfile64(int to, int from, off64_t *start, size_t size) { return sendfile(to, from, start, size); }
int fsync(int file) { OPERATION('s', is_counted(file, ""), REAL(fsync)(file)); }
int rename(const char *old, const char *new) { OPERATION('r', is_counted(AT_FDCWD, new), REAL(rename)(old, new)); }
int link(const char *old, const char *new) { OPERATION('l', is_counted(AT_FDCWD, new), REAL(link)(old, new)); }
int linkat(int a, const char *old, int b, const char *new, int flags) { OPERATION('l', is_counted(b, new), REAL(linkat)(a, old, b, new, flags)); }
int unlink(const char *path) { OPERATION('u', IS_THERE(AT_FDCWD, path), REAL(unlink)(path)); }
int unlinkat(int folder, const char *path, int flags) { OPERATION('u', IS_THERE(folder, path), REAL(unlinkat)(folder, path, flags)); }
int rmdir(const char *path) { OPERATION('u', IS_THERE(AT_FDCWD, path), REAL(rmdir)(path)); }
int mkdir(const char *path, mode_t mode) { OPERATION('m', is_counted(AT_FDCWD, path) && !IS_THERE(AT_FDCWD, path), REAL(mkdir)(path, mode)); }
int flock(int file, int how) { /* a refused one is none, since who waits for a lock tries again and again */
    int result = REAL(flock)(file, how);
    if (result || (how & LOCK_UN) || !is_counted(file, "")) return result;
    pthread_mutex_lock(&shared->turn);
    int failed = fails('k'), error = errno;
    if (failed) REAL(flock)(file, LOCK_UN);
    if (armed && shared->fault == HOLD) hold(AFTER);
    if (armed) pthread_mutex_unlock(&shared->turn);
    errno = error;
    return failed ? -1 : 0;
}
