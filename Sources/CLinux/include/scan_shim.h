#pragma once
// Looking at bytes sixteen at a time, and copying few of them: what reading and writing a head costs.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FL_INLINE static inline __attribute__((always_inline))

typedef uint8_t fl_u8x16 __attribute__((vector_size(16)));
typedef char fl_i8x16 __attribute__((vector_size(16)));

FL_INLINE fl_u8x16 fl_load16(const uint8_t *p) {
  fl_u8x16 v;
  __builtin_memcpy(&v, p, 16);
  return v;
}

// One bit for each byte that is set in the outcome of a comparison.
FL_INLINE unsigned fl_mask16(fl_i8x16 outcome) {
#if defined(__SSE2__)
  return (unsigned)__builtin_ia32_pmovmskb128(outcome);
#else
  // Little-endian, as every machine that we build for: bit k of byte k, and all bytes summed.
  uint64_t half[2];
  __builtin_memcpy(half, &outcome, 16);
  uint64_t low = (half[0] & 0x8040201008040201u) * 0x0101010101010101u >> 56;
  uint64_t high = (half[1] & 0x8040201008040201u) * 0x0101010101010101u >> 56;
  return (unsigned)(high << 8 | low);
#endif
}

// What no field value may hold (RFC 9110 §5.5): CTLs but HTAB, and DEL.
FL_INLINE fl_i8x16 fl_controls16(fl_u8x16 v) {
  return (fl_i8x16)(((v < 0x20) & (v != 9)) | (v == 0x7f));
}
FL_INLINE bool fl_is_control(uint8_t c) { return (c < 0x20 && c != 9) || c == 0x7f; }

// Sixteen bytes for a look at p[i] and what follows it, of n that there are: near the end they begin
// before i, at p[at], so that none is read beyond. n is at least 16.
FL_INLINE size_t fl_window(size_t i, size_t n) { return i + 16 <= n ? i : n - 16; }

// Index, from i, of the first byte that a field value may not hold, or n.
FL_INLINE size_t fl_find_control(const uint8_t *p, size_t i, size_t n) {
  if (n < 16) {
    while (i < n && !fl_is_control(p[i])) i++;
    return i;
  }
  while (i < n) {
    size_t at = fl_window(i, n);
    unsigned bad = fl_mask16(fl_controls16(fl_load16(p + at))) >> (i - at);
    if (bad) return i + (unsigned)__builtin_ctz(bad);
    i = at + 16;
  }
  return n;
}

// The same from the beginning.
FL_INLINE size_t fl_scan_field_value(const uint8_t *p, size_t n) { return fl_find_control(p, 0, n); }

// Index, from i, of the first byte that no request target may hold, or n: visible ASCII only, for a
// raw byte beyond it has no place in a URI (RFC 3986 §2).
FL_INLINE size_t fl_scan_target(const uint8_t *p, size_t i, size_t n) {
  if (n < 16) {
    while (i < n && (uint8_t)(p[i] - 33) < 94) i++;
    return i;
  }
  while (i < n) {
    size_t at = fl_window(i, n);
    fl_u8x16 visible = (fl_u8x16)((fl_u8x16)(fl_load16(p + at) - 33) < 94);
    unsigned bad = fl_mask16((fl_i8x16)~visible) >> (i - at);
    if (bad) return i + (unsigned)__builtin_ctz(bad);
    i = at + 16;
  }
  return n;
}

// Reads a field's line from p[i] on in one pass. Makes the letters of its name small, in place, up to
// the first byte that is no letter, digit or hyphen, whose index it returns, or n. `*end` is the
// first byte from there on that a field value may not hold, or n: what a name is made of never ends
// a line, so this is the line's end even when the name goes on with rarer bytes.
FL_INLINE size_t fl_scan_field_line(uint8_t *p, size_t i, size_t n, size_t *end) {
  if (n < 16) {
    for (; i < n; i++) {
      uint8_t c = p[i], lower = c | 0x20;
      if ((uint8_t)(lower - 'a') < 26) p[i] = lower;
      else if ((uint8_t)(c - '0') >= 10 && c != '-') break;
    }
    *end = fl_find_control(p, i, n);
    return i;
  }
  while (i < n) {
    size_t at = fl_window(i, n), skipped = i - at;
    fl_u8x16 v = fl_load16(p + at);
    fl_i8x16 capitals = (fl_i8x16)((fl_u8x16)(v - 'A') < 26);
    fl_u8x16 small = (fl_u8x16)((fl_u8x16)((v | 0x20) - 'a') < 26);
    fl_u8x16 digits = (fl_u8x16)((fl_u8x16)(v - '0') < 10);
    unsigned other = fl_mask16((fl_i8x16) ~(small | digits | (fl_u8x16)(v == '-'))) >> skipped;
    unsigned lower = fl_mask16(capitals) >> skipped;
    // Only those before the first other byte belong to the name.
    if (other) lower &= (other & -other) - 1;
    for (; lower; lower &= lower - 1) p[i + (unsigned)__builtin_ctz(lower)] |= 0x20;
    if (other) {
      unsigned stop = (unsigned)__builtin_ctz(other);
      unsigned bad = fl_mask16(fl_controls16(v)) >> skipped;
      *end = bad ? i + (unsigned)__builtin_ctz(bad) : fl_find_control(p, at + 16, n);
      return i + stop;
    }
    i = at + 16;
  }
  *end = n;
  return n;
}

// Copies n bytes. Most texts are short, and then a call would cost more than the copy.
FL_INLINE void fl_copy(uint8_t *to, const uint8_t *from, size_t n) {
  if (n > 32) {
    memcpy(to, from, n);
  } else if (n >= 16) {
    fl_u8x16 first = fl_load16(from), last = fl_load16(from + n - 16);
    __builtin_memcpy(to, &first, 16);
    __builtin_memcpy(to + n - 16, &last, 16);
  } else if (n >= 8) {
    uint64_t first, last;
    __builtin_memcpy(&first, from, 8);
    __builtin_memcpy(&last, from + n - 8, 8);
    __builtin_memcpy(to, &first, 8);
    __builtin_memcpy(to + n - 8, &last, 8);
  } else if (n >= 4) {
    uint32_t first, last;
    __builtin_memcpy(&first, from, 4);
    __builtin_memcpy(&last, from + n - 4, 4);
    __builtin_memcpy(to, &first, 4);
    __builtin_memcpy(to + n - 4, &last, 4);
  } else if (n > 0) {
    uint8_t first = from[0], middle = from[n / 2], last = from[n - 1];
    to[0] = first;
    to[n / 2] = middle;
    to[n - 1] = last;
  }
}
