// The upstream of the benchmarks: answers each request with 1 KB, keeps the connection, and does as
// little else as possible, so that what is measured is the proxy.
//
//   upstream PORT
//
// A request ends at its first empty line: no bodies. One thread, level-triggered epoll.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { body_bytes = 1024, most_descriptors = 65536, most_pipelined = 16 };

// How much of "\r\n\r\n" the connection's last bytes were, by descriptor.
static unsigned char matched[most_descriptors];
static char answers[most_pipelined * (body_bytes + 128)];
static size_t answer_bytes;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void make_answers(void) {
  char *at = answers;
  for (int i = 0; i < most_pipelined; i++) {
    at += sprintf(at, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n",
                  body_bytes);
    memset(at, 'x', body_bytes);
    at += body_bytes;
  }
  answer_bytes = (size_t)(at - answers) / most_pipelined;
}

// How many requests end in these bytes.
static int count_ends(unsigned char *state, const char *bytes, ssize_t count) {
  static const char end[] = "\r\n\r\n";
  int found = 0;
  for (ssize_t i = 0; i < count; i++) {
    // A mismatch can only be the start of another end when it is a CR.
    if (bytes[i] == end[*state]) (*state)++;
    else *state = bytes[i] == '\r';
    if (*state == 4) {
      *state = 0;
      found++;
    }
  }
  return found;
}

static void serve(int fd) {
  static char buffer[65536];
  ssize_t count = recv(fd, buffer, sizeof buffer, 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    close(fd);
    return;
  }
  int requests = count_ends(&matched[fd], buffer, count);
  while (requests > 0) {
    int now = requests < most_pipelined ? requests : most_pipelined;
    ssize_t wanted = (ssize_t)answer_bytes * now;
    // A peer that cannot take a few KB is not one that we measure with.
    if (send(fd, answers, (size_t)wanted, MSG_NOSIGNAL) != wanted) {
      close(fd);
      return;
    }
    requests -= now;
  }
}

int main(int count, char **arguments) {
  if (count != 2) {
    fprintf(stderr, "usage: upstream PORT\n");
    return 2;
  }
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  make_answers();

  int one = 1;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((unsigned short)atoi(arguments[1])),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&address, sizeof address)) fail("bind");
  if (listen(listener, 4096)) fail("listen");

  int epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event)) fail("epoll_ctl");

  for (;;) {
    struct epoll_event events[256];
    int ready = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < ready; i++) {
      if (events[i].data.fd != listener) {
        serve(events[i].data.fd);
        continue;
      }
      int fd;
      while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= most_descriptors) {
          close(fd);
          continue;
        }
        matched[fd] = 0;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        event = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
      }
    }
  }
}
