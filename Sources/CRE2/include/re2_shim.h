#pragma once
// RE2 behind C: linear-time regular expressions with a bound on memory. No backtracking ever meets
// foreign input.
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

typedef struct fl_regex fl_regex;

/// Compiles `pattern`. NULL on failure, with a sentence in `error` (at most `error_capacity` bytes,
/// always terminated).
fl_regex *fl_regex_compile(const char *pattern, size_t length, char *error, size_t error_capacity);

/// 1 when the whole text matches, else 0. Safe to call from several threads at once.
int32_t fl_regex_full_match(const fl_regex *regex, const uint8_t *text, size_t length);

/// 1 when a part of the text matches, else 0. Safe to call from several threads at once.
int32_t fl_regex_partial_match(const fl_regex *regex, const uint8_t *text, size_t length);

/// 1 when `substitution` names only groups that the expression has, and escapes nothing but digits
/// and backslashes; else 0, with a sentence in `error`.
int32_t fl_regex_check_substitution(const fl_regex *regex, const uint8_t *substitution,
                                    size_t length, char *error, size_t error_capacity);

/// Replaces every match in `text` (`\1` in `substitution` is the first group, `\0` the match), from
/// left to right, never an empty match where the last one ended. `substitution` must have been
/// checked. Writes at most `capacity` bytes and returns the length of the whole result.
size_t fl_regex_replace_all(const fl_regex *regex, const uint8_t *text, size_t length,
                            const uint8_t *substitution, size_t substitution_length, uint8_t *out,
                            size_t capacity);

void fl_regex_free(fl_regex *regex);

#ifdef __cplusplus
}
#endif
