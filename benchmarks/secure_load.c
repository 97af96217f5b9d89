// A load generator for TLS that does what wrk and h2load do not: client certificates, handshakes in
// full or resumed, and connections that stay open. HTTP/1.1, TLS 1.3.
//
//   secure_load -p PORT -c CONNECTIONS -s SECONDS    requests on connections that stay; one thread
//   … -m full | -m resumed                           a connection, with its handshake, per request;
//                                                    as below, each connection has a thread
//   … -m hold                                        one request each, then says "holding" and keeps
//                                                    the connections until standard input ends
//   … -a CA [-x CERTIFICATE -k KEY]                  whom to believe, and who we are
//
// Prints one line of JSON. Exit code 1 if any request failed.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum mode { keep, full, resumed, hold };
enum { most_connections = 4096, answer_room = 16384 };

// The bytes of an answer so far, and of the whole one once its head is there.
struct answer {
  int used, wanted;
  char bytes[answer_room];
};

struct client {
  pthread_t thread;
  SSL *ssl;
  SSL_SESSION *session;
  long requests, resumptions, failures;
  struct answer answer;
};

static enum mode mode = keep;
static SSL_CTX *context;
static struct sockaddr_in address;
static double end;
static pthread_barrier_t holding, release;
static struct client clients[most_connections];
static const char request[] = "GET /benchmark HTTP/1.1\r\nHost: localhost\r\n\r\n";

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *what) {
  fprintf(stderr, "secure_load: %s\n", what);
  ERR_print_errors_fp(stderr);
  exit(1);
}

// TLS 1.3 brings sessions after the handshake: each is good for one connection.
static int keep_session(SSL *ssl, SSL_SESSION *session) {
  struct client *client = SSL_get_app_data(ssl);
  SSL_SESSION_free(client->session);
  client->session = session;
  return 1;
}

static SSL *begin(struct client *client) {
  int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
    close(fd);
    return NULL;
  }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  SSL *ssl = SSL_new(context);
  SSL_set_app_data(ssl, client);
  SSL_set_fd(ssl, fd);
  SSL_set_tlsext_host_name(ssl, "localhost");
  SSL_set1_host(ssl, "localhost");
  if (mode == resumed && client->session) SSL_set_session(ssl, client->session);
  if (SSL_connect(ssl) == 1) return ssl;
  SSL_free(ssl);
  close(fd);
  return NULL;
}

static void finish(SSL *ssl) {
  int fd = SSL_get_fd(ssl);
  SSL_shutdown(ssl);
  SSL_free(ssl);
  close(fd);
}

// Reads what is there of an answer, which has a content-length and status 200. 1: it is whole; 0: not
// yet, and the socket is empty; -1: it is wrong.
static int read_answer(SSL *ssl, struct answer *answer) {
  while (!answer->wanted || answer->used < answer->wanted) {
    int count =
        SSL_read(ssl, answer->bytes + answer->used, answer_room - 1 - answer->used);
    if (count <= 0) return SSL_get_error(ssl, count) == SSL_ERROR_WANT_READ ? 0 : -1;
    answer->used += count;
    answer->bytes[answer->used] = 0;
    char *body = answer->wanted ? NULL : strstr(answer->bytes, "\r\n\r\n");
    if (!body) continue;
    char *length = strcasestr(answer->bytes, "content-length:");
    if (strncmp(answer->bytes, "HTTP/1.1 200", 12) || !length || length > body) return -1;
    answer->wanted = (int)(body - answer->bytes) + 4 + atoi(length + 15);
    if (answer->wanted >= answer_room) return -1;
  }
  return answer->used == answer->wanted ? 1 : -1;
}

static int ask(struct client *client) {
  client->answer.used = client->answer.wanted = 0;
  return SSL_write(client->ssl, request, sizeof request - 1) > 0;
}

// One request and its whole answer, on a socket that waits.
static int exchange(SSL *ssl, struct client *client) {
  client->ssl = ssl;
  return ask(client) && read_answer(ssl, &client->answer) == 1;
}

// All connections on this thread, each with one request under way until the time is over.
static void run_all(int count) {
  int epoll = epoll_create1(0);
  for (int i = 0; i < count; i++) {
    struct client *client = &clients[i];
    client->ssl = begin(client);
    if (!client->ssl) fail("no connection");
    int fd = SSL_get_fd(client->ssl);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) || !ask(client)) fail("no request");
  }
  while (now() < end) {
    struct epoll_event events[256];
    int ready = epoll_wait(epoll, events, 256, 1000);
    for (int i = 0; i < ready; i++) {
      struct client *client = events[i].data.ptr;
      int outcome = read_answer(client->ssl, &client->answer);
      if (outcome > 0) client->requests++;
      if (outcome > 0 ? !ask(client) : outcome < 0) {
        client->failures++;
        epoll_ctl(epoll, EPOLL_CTL_DEL, SSL_get_fd(client->ssl), NULL);
      }
    }
  }
  close(epoll);
}

static void *run(void *argument) {
  struct client *client = argument;
  SSL *ssl = NULL;
  do {
    if (!ssl) ssl = begin(client);
    if (!ssl || !exchange(ssl, client)) {
      client->failures++;
      break;
    }
    client->requests++;
    client->resumptions += SSL_session_reused(ssl);
    if (mode == full || mode == resumed) {
      finish(ssl);
      ssl = NULL;
    }
  } while (mode != hold && now() < end);
  if (mode == hold) {
    pthread_barrier_wait(&holding);
    pthread_barrier_wait(&release);
  }
  if (ssl) finish(ssl);
  return NULL;
}

static void prepare(const char *ca, const char *certificate, const char *key) {
  context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
  if (!ca || !SSL_CTX_load_verify_locations(context, ca, NULL)) fail("no CA: -a FILE");
  if (certificate && (SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
                      SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1))
    fail("the certificate or its key cannot be used");
  if (mode != resumed) return;
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, keep_session);
}

int main(int count, char **arguments) {
  const char *ca = NULL, *certificate = NULL, *key = NULL;
  int port = 0, connections = 1, option;
  double seconds = 1;
  while ((option = getopt(count, arguments, "p:c:s:m:a:x:k:")) != -1) {
    switch (option) {
    case 'p': port = atoi(optarg); break;
    case 'c': connections = atoi(optarg); break;
    case 's': seconds = atof(optarg); break;
    case 'a': ca = optarg; break;
    case 'x': certificate = optarg; break;
    case 'k': key = optarg; break;
    case 'm':
      mode = !strcmp(optarg, "full") ? full : !strcmp(optarg, "resumed") ? resumed : hold;
      break;
    default: return 2;
    }
  }
  if (connections < 1 || connections > most_connections) return 2;
  signal(SIGPIPE, SIG_IGN);
  prepare(ca, certificate, key);
  address = (struct sockaddr_in){.sin_family = AF_INET,
                                 .sin_port = htons((unsigned short)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  pthread_barrier_init(&holding, NULL, (unsigned)connections + 1);
  pthread_barrier_init(&release, NULL, (unsigned)connections + 1);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 128 * 1024);

  end = now() + seconds;
  if (mode == keep) run_all(connections);
  for (int i = 0; i < connections && mode != keep; i++) {
    if (pthread_create(&clients[i].thread, &attributes, run, &clients[i])) fail("no thread");
  }
  if (mode == hold) {
    pthread_barrier_wait(&holding);
    puts("holding");
    fflush(stdout);
    while (getchar() != EOF) {
    }
    pthread_barrier_wait(&release);
  }
  long requests = 0, resumptions = 0, failures = 0;
  for (int i = 0; i < connections; i++) {
    if (mode != keep) pthread_join(clients[i].thread, NULL);
    requests += clients[i].requests;
    resumptions += clients[i].resumptions;
    failures += clients[i].failures;
  }
  printf("{\"requests\": %ld, \"resumed\": %ld, \"failed\": %ld}\n", requests, resumptions,
         failures);
  return failures > 0;
}
