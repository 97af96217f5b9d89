#pragma once
// Linux calls that Swift cannot import as they stand: macros, unions, varargs and atomics. Everything
// that is called often is `static inline`, so a call costs what the call itself costs; what needs GNU
// extensions stands in linux_shim.c, because Swift's own view of the C library is without them.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

// ---- epoll

static inline int fl_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

static inline int fl_epoll_add(int epoll, int fd, uint64_t data, uint32_t events) {
  struct epoll_event event;
  event.events = events;
  event.data.u64 = data;
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

static inline int fl_epoll_change(int epoll, int fd, uint64_t data, uint32_t events) {
  struct epoll_event event;
  event.events = events;
  event.data.u64 = data;
  return epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event) == 0 ? 0 : -errno;
}

static inline int fl_epoll_remove(int epoll, int fd) {
  return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL) == 0 ? 0 : -errno;
}

static inline int fl_epoll_wait(int epoll, struct epoll_event *events, int capacity, int timeout) {
  int n = epoll_wait(epoll, events, capacity, timeout);
  return n >= 0 ? n : -errno;
}

static inline uint32_t fl_event_flags(const struct epoll_event *event) { return event->events; }
static inline uint64_t fl_event_data(const struct epoll_event *event) { return event->data.u64; }

// Edge-triggered, both directions, registered once: no epoll_ctl after this.
static const uint32_t FL_EPOLL_STREAM = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
static const uint32_t FL_EPOLL_LISTEN = EPOLLIN;
static const uint32_t FL_EPOLL_LISTEN_EXCLUSIVE = EPOLLIN | EPOLLEXCLUSIVE;
static const uint32_t FL_EPOLL_READ = EPOLLIN;
static const uint32_t FL_EPOLLIN = EPOLLIN;
static const uint32_t FL_EPOLLOUT = EPOLLOUT;
static const uint32_t FL_EPOLLHANGUP = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

// ---- changes of files

static inline int fl_watch_open(void) {
  int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  return fd >= 0 ? fd : -errno;
}

// Tells of files in `path` that were written, put there, or linked to.
static inline int fl_watch_directory(int fd, const char *path) {
  int watch = inotify_add_watch(fd, path, IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE);
  return watch >= 0 ? watch : -errno;
}

// Tells also of files that went away, and of directories.
static inline int fl_watch_everything(int fd, const char *path) {
  int watch = inotify_add_watch(
      fd, path,
      IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF |
          IN_MOVE_SELF);
  return watch >= 0 ? watch : -errno;
}

// Tells of files in `path` that were moved there, which replaces them whole.
static inline int fl_watch_moves(int fd, const char *path) {
  int watch = inotify_add_watch(fd, path, IN_MOVED_TO | IN_ONLYDIR);
  return watch >= 0 ? watch : -errno;
}

static inline void fl_watch_forget(int fd, int watch) { inotify_rm_watch(fd, watch); }

typedef struct fl_watch_event {
  int watch;             // as `fl_watch_moves` returned it; -1: events were lost
  const char *name;      // of the file, within the directory
} fl_watch_event;

// Fetches what happened into `buffer`; the bytes there, or minus errno.
static inline long fl_watch_read(int fd, char *buffer, size_t size) {
  long n = read(fd, buffer, size);
  return n >= 0 ? n : -errno;
}

// The event at `offset` of what was fetched; where the next one is.
static inline size_t fl_watch_next(const char *buffer, size_t offset, fl_watch_event *event) {
  const struct inotify_event *e = (const struct inotify_event *)(buffer + offset);
  event->watch = e->mask & IN_Q_OVERFLOW ? -1 : e->wd;
  event->name = e->len > 0 ? e->name : "";
  return offset + sizeof *e + e->len;
}

// Forgets what happened: whoever watches looks at the files themselves.
static inline void fl_watch_drain(int fd) {
  char buffer[4096];
  while (read(fd, buffer, sizeof buffer) > 0) {
  }
}

// ---- memory of configured resources: what is open on the calling thread.

void *fl_open_memory_get(void);
void fl_open_memory_set(void *memory);

// ---- sockets. Each returns a descriptor or a count, or minus errno.

static inline int fl_errno(void) { return errno; }

static inline int fl_socket(int family) {
  int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  return fd >= 0 ? fd : -errno;
}

static inline int fl_set_int(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof value) == 0 ? 0 : -errno;
}

static inline int fl_set_option(int fd, int level, int option, const void *value,
                                socklen_t length) {
  return setsockopt(fd, level, option, value, length) == 0 ? 0 : -errno;
}

static inline int fl_set_nodelay(int fd) { return fl_set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1); }

static inline int fl_bind(int fd, const struct sockaddr_storage *address, socklen_t length) {
  return bind(fd, (const struct sockaddr *)address, length) == 0 ? 0 : -errno;
}

static inline int fl_connect(int fd, const struct sockaddr_storage *address, socklen_t length) {
  return connect(fd, (const struct sockaddr *)address, length) == 0 ? 0 : -errno;
}

int fl_accept(int fd, struct sockaddr_storage *address, socklen_t *length);

static inline int fl_local_address(int fd, struct sockaddr_storage *address, socklen_t *length) {
  *length = sizeof *address;
  return getsockname(fd, (struct sockaddr *)address, length) == 0 ? 0 : -errno;
}

// SO_ORIGINAL_DST of linux/netfilter_ipv4.h, and IP6T_SO_ORIGINAL_DST, have the same number.
static inline int fl_original_destination(int fd, int family, struct sockaddr_storage *address) {
  socklen_t length = sizeof *address;
  int level = family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
  return getsockopt(fd, level, 80, address, &length) == 0 ? 0 : -errno;
}

static inline int fl_set_transparent(int fd, int family) {
  // linux/in6.h: IPV6_TRANSPARENT is 75. linux/in.h: IP_TRANSPARENT is 19.
  return family == AF_INET6 ? fl_set_int(fd, IPPROTO_IPV6, 75, 1) : fl_set_int(fd, IPPROTO_IP, 19, 1);
}

// A connection has this from the socket that accepted it.
static inline _Bool fl_is_transparent(int fd, int family) {
  int value = 0;
  socklen_t length = sizeof value;
  int level = family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
  return getsockopt(fd, level, family == AF_INET6 ? 75 : 19, &value, &length) == 0 && value != 0;
}

static inline int fl_set_freebind(int fd, int family) {
  // IPV6_FREEBIND is 78, IP_FREEBIND is 15.
  return family == AF_INET6 ? fl_set_int(fd, IPPROTO_IPV6, 78, 1) : fl_set_int(fd, IPPROTO_IP, 15, 1);
}

// IP_BIND_ADDRESS_NO_PORT, for IPv6 too; where there is none, the port is taken at once.
static inline void fl_choose_port_late(int fd) { (void)fl_set_int(fd, IPPROTO_IP, 24, 1); }

static inline int fl_socket_error(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
  return error;
}

// -1 where the socket has no such estimate.
int64_t fl_round_trip_microseconds(int fd);

// An interrupted call is repeated: edge-triggered, nobody would be told again. Reading and writing go
// to the kernel directly: in libc they are points at which a thread can be cancelled, which nobody does
// here, and which costs two locked instructions a call.

static inline ssize_t fl_send(int fd, const void *bytes, size_t count) {
  ssize_t n;
  do n = syscall(SYS_sendto, fd, bytes, count, MSG_NOSIGNAL, NULL, 0);
  while (n < 0 && errno == EINTR);
  return n >= 0 ? n : -errno;
}

static inline ssize_t fl_recv(int fd, void *bytes, size_t capacity) {
  ssize_t n;
  do n = syscall(SYS_recvfrom, fd, bytes, capacity, 0, NULL, NULL);
  while (n < 0 && errno == EINTR);
  return n >= 0 ? n : -errno;
}

// Reads without taking.
static inline ssize_t fl_peek(int fd, void *bytes, size_t capacity) {
  ssize_t n;
  do n = recv(fd, bytes, capacity, MSG_PEEK);
  while (n < 0 && errno == EINTR);
  return n >= 0 ? n : -errno;
}

// sendmsg rather than writev: it takes MSG_NOSIGNAL.
static inline ssize_t fl_sendv(int fd, struct iovec *pieces, int count) {
  struct msghdr message;
  memset(&message, 0, sizeof message);
  message.msg_iov = pieces;
  message.msg_iovlen = count;
  ssize_t n;
  do n = sendmsg(fd, &message, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return n >= 0 ? n : -errno;
}

// ---- Bytes from one socket to another through a pipe, without copies

typedef struct {
  int reading;
  int writing;
} fl_pipe_ends;

// Neither end blocks, or lives on in another program. Returns 0 or -errno. The kernel may grant less
// than the capacity that is asked for.
static inline int fl_pipe_open(fl_pipe_ends *ends, int capacity) {
  int pair[2];
  if (syscall(SYS_pipe2, pair, O_NONBLOCK | O_CLOEXEC) < 0) return -errno;
  ends->reading = pair[0];
  ends->writing = pair[1];
  enum { set_pipe_size = 1031 };  // F_SETPIPE_SZ, a GNU extension.
  (void)fcntl(pair[1], set_pipe_size, capacity);
  return 0;
}

static inline ssize_t fl_splice(int from, int to, size_t count) {
  enum { move = 1, nonblock = 2 };  // SPLICE_F_MOVE, SPLICE_F_NONBLOCK: GNU extensions.
  ssize_t n;
  do n = syscall(SYS_splice, from, NULL, to, NULL, count, move | nonblock);
  while (n < 0 && errno == EINTR);
  return n >= 0 ? n : -errno;
}

static inline ssize_t fl_pipe_read(int fd, void *bytes, size_t capacity) {
  ssize_t n;
  do n = read(fd, bytes, capacity);
  while (n < 0 && errno == EINTR);
  return n >= 0 ? n : -errno;
}

static inline int fl_shutdown_write(int fd) { return shutdown(fd, SHUT_WR) == 0 ? 0 : -errno; }

// Makes close() send RST: how a truncated message is kept from passing as a whole one.
static inline void fl_reset_on_close(int fd) {
  struct linger linger = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

// ---- addresses

static inline uint16_t fl_port(const struct sockaddr_storage *a) {
  if (a->ss_family == AF_INET) return ntohs(((const struct sockaddr_in *)a)->sin_port);
  if (a->ss_family == AF_INET6) return ntohs(((const struct sockaddr_in6 *)a)->sin6_port);
  return 0;
}

// The zone of an IPv6 address, or 0.
static inline uint32_t fl_scope(const struct sockaddr_storage *a) {
  return a->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)a)->sin6_scope_id : 0;
}

// 1 when `text` is an IPv4 or IPv6 literal.
static inline int fl_parse_ip(const char *text, uint16_t port, struct sockaddr_storage *a,
                              socklen_t *length) {
  memset(a, 0, sizeof *a);
  struct sockaddr_in *v4 = (struct sockaddr_in *)a;
  if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    *length = sizeof *v4;
    return 1;
  }
  memset(a, 0, sizeof *a);
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)a;
  if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    *length = sizeof *v6;
    return 1;
  }
  return 0;
}

// What system calls take. `ip` holds 4 or 16 bytes; `path` is of at most 107 bytes, and a leading '@'
// names the abstract namespace, as in Envoy.
static inline void fl_make_address(int family, uint16_t port, uint32_t scope, const uint8_t *ip,
                                   const uint8_t *path, size_t count, struct sockaddr_storage *a,
                                   socklen_t *length) {
  memset(a, 0, sizeof *a);
  a->ss_family = (sa_family_t)family;
  if (family == AF_INET) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)a;
    v4->sin_port = htons(port);
    memcpy(&v4->sin_addr, ip, 4);
    *length = sizeof *v4;
  } else if (family == AF_INET6) {
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)a;
    v6->sin6_port = htons(port);
    v6->sin6_scope_id = scope;
    memcpy(&v6->sin6_addr, ip, 16);
    *length = sizeof *v6;
  } else if (family == AF_UNIX) {
    struct sockaddr_un *un = (struct sockaddr_un *)a;
    if (count >= sizeof un->sun_path) count = sizeof un->sun_path - 1;
    memcpy(un->sun_path, path, count);
    int abstract = un->sun_path[0] == '@';
    if (abstract) un->sun_path[0] = 0;
    *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + count + (abstract ? 0 : 1));
  }
}

// Writes the textual IP without its port; returns its length.
static inline size_t fl_format_ip(const struct sockaddr_storage *a, char *out, size_t capacity) {
  const char *r = NULL;
  if (a->ss_family == AF_INET)
    r = inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, out, (socklen_t)capacity);
  else if (a->ss_family == AF_INET6)
    r = inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)a)->sin6_addr, out, (socklen_t)capacity);
  return r ? strlen(r) : 0;
}

// The address bytes in network order (4 or 16), or 0 for a Unix address.
static inline size_t fl_ip_bytes(const struct sockaddr_storage *a, uint8_t out[16]) {
  if (a->ss_family == AF_INET) {
    memcpy(out, &((const struct sockaddr_in *)a)->sin_addr, 4);
    return 4;
  }
  if (a->ss_family == AF_INET6) {
    memcpy(out, &((const struct sockaddr_in6 *)a)->sin6_addr, 16);
    return 16;
  }
  return 0;
}

// ---- time

static inline uint64_t fl_monotonic_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t fl_realtime_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// ---- a lock-free stack of messages: many push, the owner takes all. Nodes are the caller's.

typedef struct fl_node {
  struct fl_node *next;
  void *payload;
} fl_node;

typedef struct fl_inbox {
  // Plain to the eye of Swift, which cannot see an _Atomic field and would not clear it.
  fl_node *head;
} fl_inbox;

// Returns 1 when the inbox was empty, that is when the owner must be woken.
static inline int fl_inbox_push(fl_inbox *inbox, fl_node *node) {
  fl_node *old = __atomic_load_n(&inbox->head, __ATOMIC_RELAXED);
  do {
    node->next = old;
  } while (!__atomic_compare_exchange_n(&inbox->head, &old, node, 1, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED));
  return old == NULL;
}

// Takes everything, oldest first.
static inline fl_node *fl_inbox_take(fl_inbox *inbox) {
  fl_node *node = __atomic_exchange_n(&inbox->head, NULL, __ATOMIC_ACQUIRE);
  fl_node *ordered = NULL;
  while (node) {
    fl_node *next = node->next;
    node->next = ordered;
    ordered = node;
    node = next;
  }
  return ordered;
}

// ---- relaxed flags that another thread may read

// Named apart from everything in other C modules: Swift tells C types apart by their names alone.
typedef struct fl_cell {
  uint64_t value;
} fl_cell;

static inline uint64_t fl_flag_get(const fl_cell *flag) {
  return __atomic_load_n(&flag->value, __ATOMIC_RELAXED);
}
static inline void fl_flag_set(fl_cell *flag, uint64_t value) {
  __atomic_store_n(&flag->value, value, __ATOMIC_RELAXED);
}
// The same, ordering what happened before the store and after the load.
static inline uint64_t fl_flag_get_acquire(const fl_cell *flag) {
  return __atomic_load_n(&flag->value, __ATOMIC_ACQUIRE);
}
static inline void fl_flag_set_release(fl_cell *flag, uint64_t value) {
  __atomic_store_n(&flag->value, value, __ATOMIC_RELEASE);
}

// ---- bytes

static inline const void *fl_memchr(const void *p, int c, size_t n) { return memchr(p, c, n); }

static inline void fl_fill_random(void *p, size_t n) {
  if (getrandom(p, n, 0) < 0) {
    // Only before the kernel's pool is ready; the clock is then the best there is.
    uint64_t seed = fl_monotonic_ns() ^ (uint64_t)getpid() << 32;
    for (size_t i = 0; i < n; i++) ((uint8_t *)p)[i] = (uint8_t)(seed >> (i % 8 * 8));
  }
}

int fl_set_thread_name(const char *name);

// Lets the kernel drop the first packet of every new connection to this TCP listener, as if it had
// been lost; handshakes that have begun go on. A Unix listener is left as it is.
void fl_ignore_new_connections(int fd);

// Lets go of the pages of this program's code and constants; those that are still needed come back from
// the page cache when they are touched.
void fl_release_code_pages(void);

// Raises the descriptor limit to the hard limit; returns what holds now.
uint64_t fl_raise_descriptor_limit(void);

// Where `needle` first stands, or NULL.
const void *fl_memmem(const void *bytes, size_t count, const void *needle, size_t needle_count);

// Bytes that the allocator has handed out, bytes that it has of the kernel, and bytes in memory.
uint64_t fl_heap_allocated(void);
uint64_t fl_heap_size(void);
uint64_t fl_resident_bytes(void);

// The first IPv4 address of an interface that is not the loopback; 0 when there is none.
int fl_machine_address(struct sockaddr_storage *address, socklen_t *length);

// Binds the calling thread to nothing in particular, but blocks the signals that the main thread
// handles, so that they are delivered there.
void fl_block_signals(void);
