#pragma once
// What Telemetry needs from C11 and libc that Swift cannot express over raw memory: atomics at an
// address, numbers in printf's forms, and a thread whose body is a plain function.

#include "linux_shim.h"

#include <stdio.h>
#include <sys/syscall.h>

// One writer per cell: a relaxed load and a relaxed store make an increment that no bus lock
// pays for, and that a reader on another thread may look at any time.

static inline uint64_t telemetry_load(const uint64_t *cell) {
  return __atomic_load_n(cell, __ATOMIC_RELAXED);
}

static inline void telemetry_store(uint64_t *cell, uint64_t value) {
  __atomic_store_n(cell, value, __ATOMIC_RELAXED);
}

static inline void telemetry_add_single_writer(uint64_t *cell, uint64_t amount) {
  __atomic_store_n(cell, __atomic_load_n(cell, __ATOMIC_RELAXED) + amount, __ATOMIC_RELAXED);
}

// Pointers that another thread follows: published with release, followed with acquire.

static inline uint64_t telemetry_load_acquire(const uint64_t *cell) {
  return __atomic_load_n(cell, __ATOMIC_ACQUIRE);
}

static inline void telemetry_store_release(uint64_t *cell, uint64_t value) {
  __atomic_store_n(cell, value, __ATOMIC_RELEASE);
}

static inline uint64_t telemetry_exchange(uint64_t *cell, uint64_t value) {
  return __atomic_exchange_n(cell, value, __ATOMIC_ACQ_REL);
}

// Cells with many writers (process-wide limits).

static inline uint64_t telemetry_fetch_add(uint64_t *cell, uint64_t amount) {
  return __atomic_fetch_add(cell, amount, __ATOMIC_RELAXED);
}

/// Adds one unless the cell already holds `limit` or more. Returns whether it did.
static inline _Bool telemetry_add_below(uint64_t *cell, uint64_t limit) {
  uint64_t seen = __atomic_load_n(cell, __ATOMIC_RELAXED);
  while (seen < limit) {
    if (__atomic_compare_exchange_n(cell, &seen, seen + 1, 1, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED)) {
      return 1;
    }
  }
  return 0;
}

/// Writes `value` as `%g` does with `digits` significant digits. Returns the length.
// True when the cell held `expected`, and now holds `desired`; else `expected` is what it holds.
static inline _Bool telemetry_compare_exchange(
    uint64_t *cell, uint64_t *expected, uint64_t desired) {
  return __atomic_compare_exchange_n(
      cell, expected, desired, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static inline int telemetry_print_general(char *into, size_t size, double value, int digits) {
  return snprintf(into, size, "%.*g", digits, value);
}

/// The kernel's number of the calling thread, as Envoy prints it in its log.
static inline long telemetry_thread_id(void) { return syscall(SYS_gettid); }

/// `strftime` of a moment since 1970, in UTC or in the machine's zone. Returns the length, 0 when
/// the text does not fit.
static inline size_t telemetry_format_time(char *into, size_t size, const char *format,
                                           int64_t seconds, _Bool local) {
  time_t moment = (time_t)seconds;
  struct tm parts;
  memset(&parts, 0, sizeof parts);
  if (local) {
    localtime_r(&moment, &parts);
  } else {
    gmtime_r(&moment, &parts);
    // glibc calls it GMT.
    parts.tm_zone = "UTC";
  }
  return strftime(into, size, format, &parts);
}

/// Seconds by which the machine's zone is ahead of UTC at a moment.
static inline long telemetry_zone_offset(int64_t seconds) {
  time_t moment = (time_t)seconds;
  struct tm parts;
  memset(&parts, 0, sizeof parts);
  localtime_r(&moment, &parts);
  return parts.tm_gmtoff;
}

/// Nanoseconds of a clock.
static inline uint64_t telemetry_clock(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/// `open` with a mode, which Swift cannot call: it takes any number of arguments.
static inline int telemetry_open(const char *path, int flags, mode_t mode) {
  return open(path, flags, mode);
}

/// Whether a descriptor is a file on a disk, which takes bytes at once.
static inline _Bool telemetry_is_regular(int descriptor) {
  struct stat status;
  return fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
}
