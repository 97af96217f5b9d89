#define _GNU_SOURCE
#include "process_shim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// In the child: until exec, only calls that are safe after fork.
static void become(char **argv, char **envp, const char *directory, const char *log,
                   _Bool dies_with_parent, pid_t parent) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setsid();
  if (dies_with_parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    // The parent may have ended before that.
    if (getppid() != parent) _exit(127);
  }
  int input = open("/dev/null", O_RDONLY);
  int output = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (input < 0 || output < 0 || chdir(directory) != 0) return;
  dup2(input, 0);
  dup2(output, 1);
  dup2(output, 2);
  if (input > 2) close(input);
  if (output > 2) close(output);
  execvpe(argv[0], argv, envp);
}

int fl_spawn(const char *words, size_t arguments, size_t variables, const char *directory,
             const char *log, _Bool dies_with_parent) {
  char **argv = calloc(arguments + variables + 2, sizeof *argv);
  if (!argv) return -ENOMEM;
  char **envp = argv + arguments + 1;
  for (size_t i = 0; i < arguments + variables; i++, words += strlen(words) + 1)
    *(i < arguments ? argv + i : envp + (i - arguments)) = (char *)words;

  // Closed by a successful exec; otherwise it tells why there was none.
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) {
    free(argv);
    return -errno;
  }
  pid_t parent = getpid(), child = fork();
  int error = child < 0 ? errno : 0;
  if (child == 0) {
    become(argv, envp, directory, log, dies_with_parent, parent);
    error = errno;
    ssize_t ignored = write(report[1], &error, sizeof error);
    (void)ignored;
    _exit(127);
  }
  close(report[1]);
  if (child > 0 && read(report[0], &error, sizeof error) == (ssize_t)sizeof error)
    waitpid(child, NULL, 0);
  close(report[0]);
  free(argv);
  return error ? -error : child;
}

int fl_reap(int *code) {
  int status;
  pid_t child = waitpid(-1, &status, WNOHANG);
  if (child <= 0) return 0;
  *code = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  return child;
}

static sigset_t held(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  sigaddset(&set, SIGCHLD);
  return set;
}

void fl_hold_signals(void) {
  sigset_t set = held();
  sigprocmask(SIG_BLOCK, &set, NULL);
}

int fl_await_signal(int milliseconds) {
  sigset_t set = held();
  struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
  int signal = sigtimedwait(&set, NULL, &time);
  return signal > 0 ? signal : 0;
}

int fl_open_locked(const char *path) {
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return -errno;
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  int error = errno;
  close(fd);
  return -error;
}

_Bool fl_is_listening(const char *address, uint16_t port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (inet_pton(AF_INET, address, &to.sin_addr) != 1) return 0;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return 0;
  // On loopback a connection is made or refused at once.
  int outcome = connect(fd, (struct sockaddr *)&to, sizeof to);
  close(fd);
  return outcome == 0;
}
