/* A disk that can be watched, broken and switched off: preloaded (LD_PRELOAD) into a process that is under test.
 *
 * It concerns regular files and directories under one path prefix; every other call goes straight to the kernel.
 *   - Successful syncs are counted by kind of file in a page shared with tests/faults/disk.py.
 *   - Writes go through, but what they replace is first appended to an undo log, with a mark where each write and each
 *     sync begins and ends. tests/faults/power.py reads the log after the crash and takes back what no sync had covered.
 *   - Faults are read from the shared page at each call: no room, failing or slow syncs, short writes.
 *   - A process can be killed at a named step: before its n-th write or sync of a kind of file, or after that sync.
 *
 * No lock is taken anywhere. The log is opened with O_APPEND, so the kernel orders the records of all threads and
 * processes, and a process killed between two records leaves a write without its end: it counts as not synced.
 * Real calls are raw system calls, so the shim never meets itself and works before libc is ready.
 *
 * Not seen: stores through mmap, stdio (fopen), copy_file_range, pwritev2, io_uring, names relative to a directory
 * descriptor (openat, unlinkat, renameat). Such changes survive a power loss.
 * O_SYNC is not believed: what was written through it counts as lost until fsync.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(long) == 8, "file offsets are passed to raw system calls in one register");

enum kind { WAL, JOURNAL, DATA, DIRECTORY, KINDS };
enum step { WRITING, SYNCING, SYNCED_IT };
enum op { BEFORE = 1, DONE, SYNC, SYNCED, CREATE, UNLINK, RENAME };

/* The shared page; `_Field` in disk.py lists the same fields in the same order. */
struct page {
    _Atomic int64_t syncs[KINDS];
    _Atomic int64_t hints;        /* sync_file_range, msync: promise nothing about durability here */
    _Atomic int64_t last_id;
    _Atomic int64_t failing;      /* so many syncs fail; -1: all */
    _Atomic int64_t room;         /* bytes that may still be written; -1: no end */
    _Atomic int64_t growth_only;  /* 1: only growing a file takes room, as on a file system that writes in place */
    _Atomic int64_t most_bytes;   /* that one write takes; 0: all */
    _Atomic int64_t slow_us;      /* a sync takes at least so long */
    _Atomic int64_t kill_in;      /* who takes the step below so many times from now is killed there; 0: nobody */
    _Atomic int64_t kill_at;      /* step * KINDS + kind */
};

/* One record of the undo log, followed by `path_length` bytes of path and `data_length` bytes of data. */
struct record {
    uint32_t op, path_length;
    uint64_t id, inode;
    int64_t offset, size; /* BEFORE: where, and the file's size until then; SYNCED: offset is the errno */
    uint64_t data_length;
};

static struct page *page;
static char prefix[PATH_MAX], log_directory[PATH_MAX];
static size_t prefix_length;
static int log_fd = -1;

static void die(const char *what) {
    dprintf(2, "storage shim: %s: %s\n", what, strerror(errno));
    abort();
}

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("TENANTRY_SHIM_PAGE"), *below = getenv("TENANTRY_SHIM_PREFIX");
    const char *log = getenv("TENANTRY_SHIM_LOG");
    if (!path || !below)
        return;
    /* Copied: PostgreSQL writes its process titles over the environment. */
    prefix_length = snprintf(prefix, sizeof prefix, "%s", below);
    if (log) {
        snprintf(log_directory, sizeof log_directory, "%s", log);
        char undo[PATH_MAX + 8];
        snprintf(undo, sizeof undo, "%s/undo", log);
        log_fd = syscall(SYS_openat, AT_FDCWD, undo, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
        if (log_fd < 0)
            die(undo);
    }
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    /* The lock is held while any process with this page lives: power is not cut under a running machine. */
    if (fd < 0 || flock(fd, LOCK_SH) < 0)
        die(path);
    void *mapped = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED)
        die(path);
    page = mapped;
}

static int under_prefix(const char *path) {
    return strncmp(path, prefix, prefix_length) == 0 && (path[prefix_length] == '/' || path[prefix_length] == 0);
}

/* The path behind a descriptor and its status, if the shim concerns itself with it. */
static int concerns(int fd, char path[PATH_MAX], struct stat *status) {
    int saved = errno, found = 0;
    char link[32];
    if (!page)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (length > 0) {
        path[length] = 0;
        found = under_prefix(path) && fstat(fd, status) == 0 && (S_ISREG(status->st_mode) || S_ISDIR(status->st_mode));
    }
    errno = saved;
    return found;
}

/* The absolute form of a name, if names are remembered and this one lies under the prefix. */
static int remembers(const char *name, char path[PATH_MAX]) {
    char base[PATH_MAX] = "";
    if (!page || log_fd < 0 || (name[0] != '/' && syscall(SYS_getcwd, base, sizeof base) < 0))
        return 0;
    if (name[0] == '.' && name[1] == '/')
        name += 2;
    int length = snprintf(path, PATH_MAX, "%s%s%s", base, name[0] == '/' ? "" : "/", name);
    return length < PATH_MAX && under_prefix(path);
}

static enum kind kind_of(const char *path, const struct stat *status) {
    size_t length = strlen(path);
    if (S_ISDIR(status->st_mode))
        return DIRECTORY;
    if ((length > 4 && strcmp(path + length - 4, "-wal") == 0) || strstr(path, "/pg_wal/"))
        return WAL;
    if (length > 8 && strcmp(path + length - 8, "-journal") == 0)
        return JOURNAL;
    return DATA;
}

/* SIGKILL to the whole process, from which this call does not return, if this is the step it was to die at. */
static void survive(enum step step, enum kind kind) {
    if (page->kill_in > 0 && page->kill_at == step * KINDS + kind && atomic_fetch_sub(&page->kill_in, 1) == 1)
        syscall(SYS_kill, getpid(), SIGKILL);
}

static uint64_t new_id(void) { return atomic_fetch_add(&page->last_id, 1) + 1; }

static void append(struct record record, const char *path, const void *data) {
    if (log_fd < 0)
        return;
    struct iovec parts[] = {
        {&record, sizeof record}, {(void *)path, record.path_length}, {(void *)data, record.data_length}};
    ssize_t whole = sizeof record + record.path_length + record.data_length;
    if (syscall(SYS_writev, log_fd, parts, 3) != whole)
        die("the undo log cannot be written");
}

/* Log what [offset, offset + length) of a file holds now, and its size; in pieces that fit the stack. */
static void remember(int fd, uint64_t id, const struct stat *status, off_t offset, off_t length) {
    char piece[65536];
    if (log_fd < 0)
        return;
    if (offset + length > status->st_size)
        length = status->st_size > offset ? status->st_size - offset : 0;
    do {
        size_t wanted = length < (off_t)sizeof piece ? (size_t)length : sizeof piece;
        ssize_t got = syscall(SYS_pread64, fd, piece, wanted, offset);
        if (got < 0 || (got == 0 && length > 0))
            die("what a write replaces cannot be read");
        struct record before = {BEFORE, 0, id, status->st_ino, offset, status->st_size, got};
        append(before, NULL, piece);
        offset += got;
        length -= got;
    } while (length > 0);
}

static void done(uint64_t id) { append((struct record){.op = DONE, .id = id}, NULL, NULL); }

/* Hold on to a file that is losing its name, if there is one, by a link beside the log. */
static void keep(const char *name, uint64_t id) {
    char kept[PATH_MAX + 32];
    snprintf(kept, sizeof kept, "%s/%lu", log_directory, id);
    if (syscall(SYS_linkat, AT_FDCWD, name, AT_FDCWD, kept, 0) < 0 && errno != ENOENT && errno != ENOTDIR)
        die("a file losing its name cannot be linked beside the log");
}

/* How many of `length` bytes at `offset` the disk takes, possibly fewer; -1 and ENOSPC for none. */
static ssize_t admit(const struct stat *status, off_t offset, ssize_t length) {
    int64_t most = page->most_bytes, room = page->room;
    if (most > 0 && length > most)
        length = most;
    for (;;) {
        int64_t in_place = page->growth_only && status->st_size > offset ? status->st_size - offset : 0;
        int64_t needed = length > in_place ? length - in_place : 0;
        if (room < 0 || needed == 0)
            return length;
        if (atomic_compare_exchange_weak(&page->room, &room, needed < room ? room - needed : 0)) {
            ssize_t taken = needed <= room ? length : length - (needed - room);
            errno = taken > 0 ? errno : ENOSPC;
            return taken > 0 ? taken : -1;
        }
    }
}

static ssize_t write_through(int fd, const struct iovec *parts, int count, off_t offset) {
    return offset < 0 ? syscall(SYS_writev, fd, parts, count) : syscall(SYS_pwritev, fd, parts, count, offset, 0);
}

/* `offset` is negative for a write at the descriptor's position. */
static ssize_t write_parts(int fd, const struct iovec *parts, int count, off_t offset) {
    char path[PATH_MAX];
    struct stat status;
    struct iovec cut[IOV_MAX];
    ssize_t length = 0;
    if (count < 1 || count > IOV_MAX || !concerns(fd, path, &status))
        return write_through(fd, parts, count, offset);
    off_t at = offset >= 0 ? offset : lseek(fd, 0, SEEK_CUR);
    if (fcntl(fd, F_GETFL) & O_APPEND)
        at = status.st_size;
    for (int i = 0; i < count; i++)
        length += parts[i].iov_len;
    ssize_t left = admit(&status, at, length);
    if (left < 0)
        return -1;
    survive(WRITING, kind_of(path, &status));
    uint64_t id = new_id();
    remember(fd, id, &status, at, left);
    for (int i = 0; i < count; i++) {
        cut[i] = parts[i];
        if ((ssize_t)cut[i].iov_len > left)
            cut[i].iov_len = left;
        left -= cut[i].iov_len;
    }
    ssize_t written = write_through(fd, cut, count, offset);
    done(id);
    return written;
}

ssize_t write(int fd, const void *data, size_t length) {
    return write_parts(fd, &(struct iovec){(void *)data, length}, 1, -1);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    return write_parts(fd, &(struct iovec){(void *)data, length}, 1, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count) { return write_parts(fd, parts, count, -1); }

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return write_parts(fd, parts, count, offset);
}

int ftruncate(int fd, off_t size) {
    char path[PATH_MAX];
    struct stat status;
    if (!concerns(fd, path, &status))
        return syscall(SYS_ftruncate, fd, size);
    uint64_t id = new_id();
    remember(fd, id, &status, size, status.st_size > size ? status.st_size - size : 0);
    int result = syscall(SYS_ftruncate, fd, size);
    done(id);
    return result;
}

int truncate(const char *name, off_t size) {
    int fd = syscall(SYS_openat, AT_FDCWD, name, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int result = ftruncate(fd, size), saved = errno;
    close(fd);
    errno = saved;
    return result;
}

int posix_fallocate(int fd, off_t offset, off_t length) {
    char path[PATH_MAX];
    struct stat status;
    int concerned = concerns(fd, path, &status);
    uint64_t id = concerned ? new_id() : 0;
    if (concerned && page->room >= 0 && offset + length - status.st_size > page->room)
        return ENOSPC;
    if (concerned)
        remember(fd, id, &status, offset, 0);
    int error = syscall(SYS_fallocate, fd, 0, offset, length) < 0 ? errno : 0;
    if (concerned)
        done(id);
    return error;
}

int open(const char *name, int flags, ...) {
    char path[PATH_MAX];
    struct stat status;
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    int writes = (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC);
    if (!writes || (flags & O_TMPFILE) == O_TMPFILE || !remembers(name, path))
        return syscall(SYS_openat, AT_FDCWD, name, flags, mode);
    if ((flags & O_ACCMODE) == O_WRONLY)
        flags = (flags & ~O_ACCMODE) | O_RDWR; /* `remember` reads through the same descriptor */
    int existed = syscall(SYS_faccessat, AT_FDCWD, name, F_OK) == 0;
    int empties = existed && flags & O_TRUNC && !(flags & O_EXCL);
    int fd = syscall(SYS_openat, AT_FDCWD, name, empties ? flags & ~O_TRUNC : flags, mode);
    if (fd >= 0 && empties)
        ftruncate(fd, 0);
    if (fd >= 0 && !existed && fstat(fd, &status) == 0)
        append((struct record){CREATE, strlen(path), new_id(), status.st_ino, 0, 0, 0}, path, NULL);
    return fd;
}

int unlink(const char *name) {
    char path[PATH_MAX];
    if (!remembers(name, path))
        return syscall(SYS_unlinkat, AT_FDCWD, name, 0);
    uint64_t id = new_id();
    keep(name, id);
    int result = syscall(SYS_unlinkat, AT_FDCWD, name, 0);
    if (result == 0)
        append((struct record){UNLINK, strlen(path), id, 0, 0, 0, 0}, path, NULL);
    return result;
}

int rename(const char *old, const char *new) {
    char paths[2 * PATH_MAX], target[PATH_MAX];
    struct stat status;
    if (!remembers(new, target) || !remembers(old, paths) || stat(old, &status) < 0)
        return syscall(SYS_renameat, AT_FDCWD, old, AT_FDCWD, new);
    uint64_t id = new_id();
    if (S_ISREG(status.st_mode))
        keep(new, id);
    int result = syscall(SYS_renameat, AT_FDCWD, old, AT_FDCWD, new);
    if (result == 0) {
        size_t split = strlen(paths) + 1;
        strcpy(paths + split, target);
        append((struct record){RENAME, split + strlen(target), id, status.st_ino, 0, 0, 0}, paths, NULL);
    }
    return result;
}

static int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int fails(void) {
    int64_t left = page->failing;
    while (left > 0 && !atomic_compare_exchange_weak(&page->failing, &left, left - 1))
        ;
    return left != 0;
}

static int sync_file(long call, int fd) {
    char path[PATH_MAX];
    struct stat status;
    if (!concerns(fd, path, &status))
        return syscall(call, fd);
    survive(SYNCING, kind_of(path, &status));
    uint64_t id = new_id();
    int64_t started = now_us();
    append((struct record){SYNC, strlen(path), id, status.st_ino, S_ISDIR(status.st_mode), 0, 0}, path, NULL);
    int error = fails() ? EIO : syscall(call, fd) == 0 ? 0 : errno;
    int64_t left = page->slow_us - (now_us() - started);
    if (left > 0)
        nanosleep(&(struct timespec){left / 1000000, left % 1000000 * 1000}, NULL);
    append((struct record){SYNCED, 0, id, status.st_ino, error, 0, 0}, NULL, NULL);
    if (error == 0) {
        atomic_fetch_add(&page->syncs[kind_of(path, &status)], 1);
        survive(SYNCED_IT, kind_of(path, &status));
        return 0;
    }
    errno = error;
    return -1;
}

int fsync(int fd) { return sync_file(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_file(SYS_fdatasync, fd); }

int sync_file_range(int fd, off_t offset, off_t length, unsigned int flags) {
    char path[PATH_MAX];
    struct stat status;
    if (concerns(fd, path, &status))
        atomic_fetch_add(&page->hints, 1);
    return syscall(SYS_sync_file_range, fd, offset, length, flags);
}

int msync(void *start, size_t length, int flags) {
    if (page)
        atomic_fetch_add(&page->hints, 1);
    return syscall(SYS_msync, start, length, flags);
}

/* The same under their other names: off_t has 64 bits in both. */
#define SAME(name) __attribute__((alias(name)))
int open64(const char *, int, ...) SAME("open");
int ftruncate64(int, off64_t) SAME("ftruncate");
int truncate64(const char *, off64_t) SAME("truncate");
int posix_fallocate64(int, off64_t, off64_t) SAME("posix_fallocate");
ssize_t pwrite64(int, const void *, size_t, off64_t) SAME("pwrite");
ssize_t pwritev64(int, const struct iovec *, int, off64_t) SAME("pwritev");
