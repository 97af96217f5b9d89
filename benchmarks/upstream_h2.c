// upstream.c for HTTP/2 in the clear (prior knowledge): every request that ends with its HEADERS frame
// is answered with 1 KB. It does not decode fields, and keeps to the peer's connection window.
//
//   upstream_h2 PORT
//
// One thread, level-triggered epoll; the answers to all that one read brought leave in one write.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { body_bytes = 1024, room = 1 << 16, most_descriptors = 65536, preface_bytes = 24 };
enum { frame_data, frame_headers, frame_settings = 4, frame_ping = 6, frame_window_update = 8 };
enum { flag_end_stream = 1, flag_ack = 1, flag_end_headers = 4 };
// Streams that wait for the connection's window.
enum { most_waiting = 4096 };

struct connection {
  int preface_left;
  int used;
  int64_t window;
  int waiting_first, waiting_count;
  uint32_t waiting[most_waiting];
  unsigned char input[room];
  // What a write did not take; nothing is read while there is any.
  size_t output_used, output_sent;
  unsigned char output[1 << 20];
};

static struct connection *connections[most_descriptors];
static int epoll;

// ":status: 200" (static entry 8), and two literals by their names' static entries.
static const unsigned char fields[] = "\x88\x0f\x10\x0atext/plain\x0f\x0d\x04"
                                      "1024";

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static unsigned char *put_head(unsigned char *at, uint32_t length, int type, int flags,
                               uint32_t stream) {
  at[0] = (unsigned char)(length >> 16);
  at[1] = (unsigned char)(length >> 8);
  at[2] = (unsigned char)length;
  at[3] = (unsigned char)type;
  at[4] = (unsigned char)flags;
  stream = htonl(stream);
  memcpy(at + 5, &stream, 4);
  return at + 9;
}

static void frame(struct connection *to, int type, int flags, uint32_t stream, const void *payload,
                  uint32_t length) {
  if (to->output_used + length + 9 > sizeof to->output) {
    fprintf(stderr, "upstream_h2: a peer does not read\n");
    exit(1);
  }
  unsigned char *at = put_head(to->output + to->output_used, length, type, flags, stream);
  if (length) memcpy(at, payload, length);
  to->output_used += 9 + length;
}

static void answer_what_fits(struct connection *to) {
  static char body[body_bytes];
  if (!body[0]) memset(body, 'x', sizeof body);
  while (to->waiting_count > 0 && to->window >= body_bytes) {
    uint32_t stream = to->waiting[to->waiting_first];
    to->waiting_first = (to->waiting_first + 1) % most_waiting;
    to->waiting_count--;
    to->window -= body_bytes;
    frame(to, frame_headers, flag_end_headers, stream, fields, sizeof fields - 1);
    frame(to, frame_data, flag_end_stream, stream, body, body_bytes);
  }
}

static void received(struct connection *from, int type, int flags, uint32_t stream,
                     const unsigned char *payload, uint32_t length) {
  uint32_t number = 0;
  if (length >= 4) {
    memcpy(&number, payload, 4);
    number = ntohl(number);
  }
  if (type == frame_settings && !(flags & flag_ack)) {
    frame(from, frame_settings, flag_ack, 0, NULL, 0);
  } else if (type == frame_ping && !(flags & flag_ack)) {
    frame(from, frame_ping, flag_ack, 0, payload, length);
  } else if (type == frame_window_update && stream == 0) {
    from->window += number;
  } else if (type == frame_headers) {
    if (!(flags & flag_end_stream) || from->waiting_count == most_waiting) {
      fprintf(stderr, "upstream_h2: a request with a body, or too many of them\n");
      exit(1);
    }
    from->waiting[(from->waiting_first + from->waiting_count++) % most_waiting] = stream;
  }
}

static void consume(struct connection *from) {
  unsigned char *at = from->input, *end = at + from->used;
  if (from->preface_left > 0) {
    int skipped = from->preface_left < from->used ? from->preface_left : from->used;
    at += skipped;
    from->preface_left -= skipped;
  }
  while (end - at >= 9) {
    uint32_t length = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2], stream;
    if (end - at < 9 + (long)length) break;
    memcpy(&stream, at + 5, 4);
    received(from, at[3], at[4], ntohl(stream), at + 9, length);
    at += 9 + length;
  }
  from->used = (int)(end - at);
  memmove(from->input, at, (size_t)from->used);
  answer_what_fits(from);
}

static int flush_output(int fd, struct connection *to) {
  ssize_t wanted = (ssize_t)(to->output_used - to->output_sent);
  if (wanted == 0) return 1;
  ssize_t sent = send(fd, to->output + to->output_sent, (size_t)wanted, MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN) return 0;
  if (sent > 0) to->output_sent += (size_t)sent;
  if (sent == wanted) to->output_used = to->output_sent = 0;
  struct epoll_event event = {.events = to->output_used ? EPOLLOUT : EPOLLIN, .data.fd = fd};
  if (sent != wanted || event.events == EPOLLOUT) epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
  return 1;
}

static void serve(int fd, uint32_t events) {
  struct connection *peer = connections[fd];
  if (events & EPOLLOUT) {
    if (!flush_output(fd, peer)) goto gone;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (!peer->output_used) epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
    return;
  }
  ssize_t count = recv(fd, peer->input + peer->used, sizeof peer->input - (size_t)peer->used, 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count > 0) {
    peer->used += (int)count;
    consume(peer);
    if (flush_output(fd, peer)) return;
  }
gone:
  free(peer);
  connections[fd] = NULL;
  close(fd);
}

static void begin(int fd) {
  int one = 1;
  struct connection *peer = fd < most_descriptors ? malloc(sizeof *peer) : NULL;
  if (!peer) {
    close(fd);
    return;
  }
  peer->preface_left = preface_bytes;
  peer->used = peer->waiting_first = peer->waiting_count = 0;
  peer->output_used = peer->output_sent = 0;
  peer->window = 65535;
  connections[fd] = peer;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  frame(peer, frame_settings, 0, 0, NULL, 0);
  flush_output(fd, peer);
}

int main(int count, char **arguments) {
  if (count != 2) {
    fprintf(stderr, "usage: upstream_h2 PORT\n");
    return 2;
  }
  int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((unsigned short)atoi(arguments[1])),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&address, sizeof address)) fail("bind");
  if (listen(listener, 4096)) fail("listen");
  epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event)) fail("epoll_ctl");
  for (;;) {
    struct epoll_event events[256];
    int ready = epoll_wait(epoll, events, 256, -1), fd;
    for (int i = 0; i < ready; i++) {
      if (events[i].data.fd != listener) {
        serve(events[i].data.fd, events[i].events);
        continue;
      }
      while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) begin(fd);
    }
  }
}
