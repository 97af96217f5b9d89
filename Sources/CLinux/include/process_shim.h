#pragma once
// Other programs as children of this one.
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Starts a program in a session of its own, with standard output and error appended to a file.
// `words` holds `arguments` and then `variables` strings, each with its zero byte; the first is the
// program, looked for in PATH if it has no slash. It runs in `directory`. With `dies_with_parent` the
// kernel kills it when the calling thread ends, whyever. Its process, or minus errno.
int fl_spawn(const char *words, size_t arguments, size_t variables, const char *directory,
             const char *log, _Bool dies_with_parent);

// One child that has ended; 0 if none has. `code` is its exit code, or minus the signal.
int fl_reap(int *code);

// Keeps SIGINT, SIGTERM, SIGHUP and SIGCHLD for `fl_await_signal`.
void fl_hold_signals(void);

// The next of these signals; 0 after so many milliseconds without one.
int fl_await_signal(int milliseconds);

// Opens a file, and locks it until it is closed or the process ends. The descriptor, or minus errno;
// -EWOULDBLOCK when another process has the lock.
int fl_open_locked(const char *path);

// Whether there is a TCP listener at an IPv4 address.
_Bool fl_is_listening(const char *address, uint16_t port);
