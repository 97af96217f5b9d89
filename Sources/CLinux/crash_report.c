#define _GNU_SOURCE
#include "crash_report.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

_Thread_local uint64_t fl_latest_stream;

static const struct {
  int number;
  const char *name;
} reported[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},
    {SIGILL, "SIGILL"},   {SIGTRAP, "SIGTRAP"}, {SIGABRT, "SIGABRT"},
};
enum { reported_count = sizeof reported / sizeof reported[0] };
static struct sigaction previous[reported_count];

// Swift's own report reads all debug information first, which can take a minute: it is for those who
// ask for it. A sanitizer's report is what a sanitized build is for.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif
static int continues_with_previous = SANITIZED;

// A line built without the C library's formatting, which a signal handler may not call.
typedef struct {
  char text[256];
  size_t count;
} line;

static void put(line *out, const char *text) {
  while (*text && out->count < sizeof out->text) out->text[out->count++] = *text++;
}

static void put_number(line *out, uint64_t value, unsigned base) {
  char digits[24];
  size_t at = sizeof digits - 1;
  digits[at] = 0;
  do {
    digits[--at] = "0123456789abcdef"[value % base];
    value /= base;
  } while (value);
  put(out, digits + at);
}

static void report(int number, siginfo_t *info, void *context) {
  (void)context;
  int saved = errno;
  size_t which = 0;
  while (which < reported_count - 1 && reported[which].number != number) which++;
  char thread[17] = {0};
  prctl(PR_GET_NAME, thread);

  line out = {.count = 0};
  put(&out, "fatal: ");
  put(&out, reported[which].name);
  int is_fault = info->si_code > 0;
  if (is_fault) {
    put(&out, " at 0x");
    put_number(&out, (uint64_t)(uintptr_t)info->si_addr, 16);
  }
  put(&out, " in thread ");
  put(&out, thread);
  if (fl_latest_stream) {
    put(&out, "; the stream it began last: ");
    put_number(&out, fl_latest_stream, 10);
  }
  put(&out, "\n");
  ssize_t written = write(STDERR_FILENO, out.text, out.count);
  (void)written;

  struct sigaction plain = {.sa_handler = SIG_DFL};
  sigemptyset(&plain.sa_mask);
  sigaction(number, continues_with_previous ? &previous[which] : &plain, NULL);
  // A fault happens again as soon as we return, with its address; anything else is sent again.
  if (!is_fault || number == SIGTRAP) raise(number);
  errno = saved;
}

void fl_install_crash_report(void) {
  if (getenv("SWIFT_BACKTRACE")) continues_with_previous = 1;
  for (size_t i = 0; i < reported_count; i++) {
    struct sigaction action = {.sa_sigaction = report, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    sigaction(reported[i].number, &action, &previous[i]);
  }
}

void fl_prepare_thread_for_crash(void) {
  static _Thread_local char memory[16 * 1024];
  stack_t present;
  // Somebody else, such as a sanitizer, may have thought of it.
  if (sigaltstack(NULL, &present) != 0 || !(present.ss_flags & SS_DISABLE)) return;
  stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory};
  sigaltstack(&stack, NULL);
}
