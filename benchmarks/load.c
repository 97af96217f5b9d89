// A load generator for what wrk does not do: a fixed rate, an exact number of requests, and
// connections that stay open after it.
//
//   load -p PORT -c CONNECTIONS -r RATE -s SECONDS   open loop: RATE requests a second
//   load -p PORT -c CONNECTIONS -n REQUESTS          closed loop: as fast as answers come
//   load -p PORT -c CONNECTIONS -n REQUESTS -k       … then says "holding" and keeps the
//                                                    connections until standard input ends
//   … -i REQUESTS                                    at most so many requests at a time
//   … -u PATH                                        instead of /benchmark
//
// Latency counts from the moment at which a request should have been sent: when the proxy stalls,
// the requests that wait for a connection are late too (no coordinated omission). Prints one line of
// JSON. Exit code 1 if any request failed.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { head_room = 8192 };

struct connection {
  int fd;
  // The bytes of the head so far; and, once it is whole, what is left of the body.
  int head_bytes;
  long body_left;
  int in_body;
  int64_t intended;
  char head[head_room];
};

static struct connection *connections;
static int *idle, idle_count, idle_first;
static int connection_count = 1, most_in_flight, epoll, timer, port;
static long to_send, sent, completed, failed;
static double rate;
static int64_t start;
static int64_t *latencies;

static const char *path = "/benchmark";
static char request[1024];
static ssize_t request_bytes;
// Connections that have not failed.
static int usable;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int64_t due(long index) { return start + (int64_t)((double)index * 1e9 / rate); }

// Oldest first, so that every connection is used.
static void push_idle(int index) { idle[(idle_first + idle_count++) % connection_count] = index; }

static int pop_idle(void) {
  int index = idle[idle_first];
  idle_first = (idle_first + 1) % connection_count;
  idle_count--;
  return index;
}

static void send_due(void) {
  int64_t time = now();
  while (sent < to_send && idle_count > connection_count - most_in_flight &&
         (rate == 0 || due(sent) <= time)) {
    struct connection *connection = &connections[pop_idle()];
    connection->intended = rate == 0 ? time : due(sent);
    connection->head_bytes = connection->in_body = 0;
    sent++;
    // A connection that cannot take a request reports it to receive() as well, which counts it.
    (void)!send(connection->fd, request, (size_t)request_bytes, MSG_NOSIGNAL);
  }
  if (rate == 0 || sent == to_send || idle_count == 0) return;
  int64_t next = due(sent);
  struct itimerspec alarm = {.it_value = {next / 1000000000, next % 1000000000}};
  timerfd_settime(timer, TFD_TIMER_ABSTIME, &alarm, NULL);
}

static void complete(struct connection *connection) {
  latencies[completed++] = now() - connection->intended;
  push_idle((int)(connection - connections));
}

// Takes bytes of an answer; 0 when it is not one that we expect.
static int take(struct connection *connection, const char *bytes, long count) {
  if (!connection->in_body) {
    if (connection->head_bytes + count >= head_room) return 0;
    memcpy(connection->head + connection->head_bytes, bytes, (size_t)count);
    connection->head_bytes += (int)count;
    connection->head[connection->head_bytes] = 0;
    char *end = strstr(connection->head, "\r\n\r\n");
    if (!end) return 1;
    char *length = strcasestr(connection->head, "\r\ncontent-length:");
    if (strncmp(connection->head, "HTTP/1.1 200", 12) || !length || length > end) return 0;
    connection->in_body = 1;
    connection->body_left = atol(length + 17);
    count = connection->head_bytes - (end + 4 - connection->head);
  }
  connection->body_left -= count;
  if (connection->body_left < 0) return 0;
  if (connection->body_left == 0) complete(connection);
  return 1;
}

static void receive(struct connection *connection) {
  // A head that is not whole must fit beside what is read.
  static char buffer[head_room / 2];
  for (;;) {
    ssize_t count = recv(connection->fd, buffer, sizeof buffer, 0);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0 || !take(connection, buffer, count)) {
      failed++;
      usable--;
      close(connection->fd);
      return;
    }
    if (count < (ssize_t)sizeof buffer) return;
  }
}

static void open_connections(void) {
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((unsigned short)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int one = 1;
  for (int i = 0; i < connection_count; i++) {
    // Blocking connects, one after the other: a burst would overflow the listen queue and measure
    // the kernel's retransmission timer.
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) fail("socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connections[i].fd = fd;
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
    push_idle(i);
    usable++;
  }
}

static int compare(const void *left, const void *right) {
  int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
  return (a > b) - (a < b);
}

static double microseconds(double quantile) {
  if (completed == 0) return 0;
  long index = (long)(quantile * (double)completed);
  return (double)latencies[index < completed ? index : completed - 1] / 1000.0;
}

int main(int count, char **arguments) {
  double seconds = 0;
  int hold = 0, option;
  while ((option = getopt(count, arguments, "p:c:n:r:s:i:u:k")) != -1) {
    switch (option) {
      case 'p': port = atoi(optarg); break;
      case 'c': connection_count = atoi(optarg); break;
      case 'n': to_send = atol(optarg); break;
      case 'r': rate = atof(optarg); break;
      case 's': seconds = atof(optarg); break;
      case 'i': most_in_flight = atoi(optarg); break;
      case 'u': path = optarg; break;
      case 'k': hold = 1; break;
      default: return 2;
    }
  }
  if (most_in_flight <= 0 || most_in_flight > connection_count) most_in_flight = connection_count;
  if (rate > 0) to_send = (long)(rate * seconds);
  if (port <= 0 || connection_count <= 0 || to_send <= 0) {
    fprintf(stderr, "usage: load -p PORT -c CONNECTIONS (-r RATE -s SECONDS | -n REQUESTS) [-k]\n");
    return 2;
  }
  request_bytes = snprintf(request, sizeof request,
                           "GET %s HTTP/1.1\r\nhost: benchmark.test\r\n"
                           "user-agent: fairlead-load\r\naccept: */*\r\n\r\n", path);
  if (request_bytes >= (ssize_t)sizeof request) fail("path too long");
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);

  connections = calloc((size_t)connection_count, sizeof *connections);
  idle = calloc((size_t)connection_count, sizeof *idle);
  latencies = calloc((size_t)to_send, sizeof *latencies);
  if (!connections || !idle || !latencies) fail("calloc");
  epoll = epoll_create1(0);
  timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event)) fail("epoll_ctl");
  open_connections();

  start = now();
  send_due();
  while (completed + failed < to_send && usable > 0) {
    struct epoll_event events[256];
    // Half a minute without any answer (callgrind makes the first ones slow): give the rest up.
    int ready = epoll_wait(epoll, events, 256, 30000);
    if (ready == 0 && sent > completed + failed) break;
    for (int i = 0; i < ready; i++) {
      if (events[i].data.u32 == UINT32_MAX) {
        uint64_t expirations;
        if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN) fail("timerfd");
      } else {
        receive(&connections[events[i].data.u32]);
      }
    }
    send_due();
  }
  double elapsed = (double)(now() - start) / 1e9;
  failed += to_send - completed - failed;

  qsort(latencies, (size_t)completed, sizeof *latencies, compare);
  printf("{\"requests\": %ld, \"failed\": %ld, \"seconds\": %.3f, \"p50_us\": %.1f, "
         "\"p90_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f}\n",
         completed, failed, elapsed, microseconds(0.5), microseconds(0.9), microseconds(0.99),
         microseconds(0.999), microseconds(1));
  fflush(stdout);
  if (hold) {
    printf("holding\n");
    fflush(stdout);
    while (getchar() != EOF) {}
  }
  return failed > 0;
}
