// Bytes for tcp_proxy: a server that pours zeros at whoever connects, and a client that swallows them.
//
//   pour serve PORT               one thread per connection
//   pour take PORT COUNT SECONDS  COUNT connections; prints the bytes of all of them
#include <arpa/inet.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { piece = 256 * 1024, most_connections = 256 };

static char zeros[piece];
static struct sockaddr_in address;
static double end;

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void *pour(void *argument) {
  int fd = (int)(intptr_t)argument;
  while (send(fd, zeros, sizeof zeros, MSG_NOSIGNAL) > 0) {
  }
  close(fd);
  return NULL;
}

static void *take(void *argument) {
  uint64_t *total = argument;
  char *buffer = malloc(piece);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (!buffer || connect(fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
  while (now() < end) {
    ssize_t count = recv(fd, buffer, piece, 0);
    if (count <= 0) fail("recv");
    *total += (uint64_t)count;
  }
  close(fd);
  free(buffer);
  return NULL;
}

static void start(pthread_t *thread, void *(*body)(void *), void *argument) {
  if (pthread_create(thread, NULL, body, argument)) fail("pthread_create");
}

static void serve(void) {
  int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&address, sizeof address)) fail("bind");
  if (listen(listener, 1024)) fail("listen");
  for (;;) {
    pthread_t thread;
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) continue;
    start(&thread, pour, (void *)(intptr_t)fd);
    pthread_detach(thread);
  }
}

int main(int count, char **arguments) {
  int takes = count == 5 && strcmp(arguments[1], "take") == 0;
  if (!takes && !(count == 3 && strcmp(arguments[1], "serve") == 0)) {
    fprintf(stderr, "usage: pour serve PORT | pour take PORT COUNT SECONDS\n");
    return 2;
  }
  address = (struct sockaddr_in){.sin_family = AF_INET,
                                 .sin_port = htons((unsigned short)atoi(arguments[2])),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (!takes) serve();

  int connections = atoi(arguments[3]);
  if (connections < 1 || connections > most_connections) return 2;
  pthread_t threads[most_connections];
  static uint64_t totals[most_connections];
  end = now() + atof(arguments[4]);
  uint64_t sum = 0;
  for (int i = 0; i < connections; i++) start(&threads[i], take, &totals[i]);
  for (int i = 0; i < connections; i++) {
    pthread_join(threads[i], NULL);
    sum += totals[i];
  }
  printf("%llu\n", (unsigned long long)sum);
  return 0;
}
