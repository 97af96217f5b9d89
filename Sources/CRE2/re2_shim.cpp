#include "re2_shim.h"

#include <re2/re2.h>

#include <cstring>
#include <new>
#include <string>

struct fl_regex {
  re2::RE2 expression;
  fl_regex(const re2::StringPiece &pattern, const re2::RE2::Options &options)
      : expression(pattern, options) {}
};

namespace {

// One expression may hold this much compiled program and DFA cache: RE2's own default.
constexpr int64_t kMaxMemory = 8 << 20;

// A substitution names groups by one digit.
constexpr int kGroups = 10;

re2::StringPiece piece(const uint8_t *text, size_t length) {
  return re2::StringPiece(reinterpret_cast<const char *>(text), length);
}

void report(const std::string &message, char *error, size_t capacity) {
  if (capacity == 0) return;
  size_t count = message.size() < capacity - 1 ? message.size() : capacity - 1;
  memcpy(error, message.data(), count);
  error[count] = 0;
}

// Counts everything and keeps what fits.
struct Output {
  uint8_t *out;
  size_t capacity;
  size_t length = 0;

  void append(const char *bytes, size_t count) {
    if (length < capacity && count > 0) {
      memcpy(out + length, bytes, count < capacity - length ? count : capacity - length);
    }
    length += count;
  }
};

// How many bytes the UTF-8 character at `text` takes, going by its first one.
size_t character_length(const char *text, size_t rest) {
  const uint8_t first = static_cast<uint8_t>(*text);
  size_t length = first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  return length < rest ? length : rest;
}

void append_substitution(Output &output, const re2::StringPiece &substitution,
                         const re2::StringPiece *groups) {
  const char *at = substitution.data();
  const char *end = at + substitution.size();
  for (; at < end; at++) {
    if (*at != '\\' || at + 1 == end) {
      output.append(at, 1);
      continue;
    }
    at++;
    if (*at >= '0' && *at <= '9') {
      const re2::StringPiece &group = groups[*at - '0'];
      output.append(group.data(), group.size());
    } else {
      output.append(at, 1);
    }
  }
}

}  // namespace

fl_regex *fl_regex_compile(const char *pattern, size_t length, char *error, size_t error_capacity) {
  re2::RE2::Options options;
  options.set_max_mem(kMaxMemory);
  options.set_log_errors(false);
  auto *regex = new (std::nothrow) fl_regex(re2::StringPiece(pattern, length), options);
  if (regex != nullptr && regex->expression.ok()) return regex;
  report(regex ? regex->expression.error() : "out of memory", error, error_capacity);
  delete regex;
  return nullptr;
}

int32_t fl_regex_full_match(const fl_regex *regex, const uint8_t *text, size_t length) {
  const re2::StringPiece whole = piece(text, length);
  return regex->expression.Match(whole, 0, length, re2::RE2::ANCHOR_BOTH, nullptr, 0) ? 1 : 0;
}

int32_t fl_regex_partial_match(const fl_regex *regex, const uint8_t *text, size_t length) {
  const re2::StringPiece whole = piece(text, length);
  return regex->expression.Match(whole, 0, length, re2::RE2::UNANCHORED, nullptr, 0) ? 1 : 0;
}

int32_t fl_regex_check_substitution(const fl_regex *regex, const uint8_t *substitution,
                                    size_t length, char *error, size_t error_capacity) {
  std::string message;
  if (regex->expression.CheckRewriteString(piece(substitution, length), &message)) return 1;
  report(message, error, error_capacity);
  return 0;
}

size_t fl_regex_replace_all(const fl_regex *regex, const uint8_t *text, size_t length,
                            const uint8_t *substitution, size_t substitution_length, uint8_t *out,
                            size_t capacity) {
  const re2::StringPiece whole = piece(text, length);
  const re2::StringPiece replacement = piece(substitution, substitution_length);
  const int groups_needed = 1 + re2::RE2::MaxSubmatch(replacement);
  re2::StringPiece groups[kGroups];
  Output output{out, capacity};
  size_t at = 0;
  size_t last_end = SIZE_MAX;
  while (at <= length) {
    if (!regex->expression.Match(whole, at, length, re2::RE2::UNANCHORED, groups, groups_needed)) {
      break;
    }
    const size_t start = static_cast<size_t>(groups[0].data() - whole.data());
    output.append(whole.data() + at, start - at);
    if (start == last_end && groups[0].empty()) {
      // Nothing is replaced twice at one place: keep a character and look behind it.
      if (start == length) return output.length;
      const size_t kept = character_length(whole.data() + start, length - start);
      output.append(whole.data() + start, kept);
      at = start + kept;
      continue;
    }
    append_substitution(output, replacement, groups);
    at = last_end = start + groups[0].size();
  }
  if (at < length) output.append(whole.data() + at, length - at);
  return output.length;
}

void fl_regex_free(fl_regex *regex) { delete regex; }
