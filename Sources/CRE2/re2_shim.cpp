#include "re2_shim.h"

#include <re2/re2.h>

#include <cstring>
#include <string>

struct fl_regex {
  re2::RE2 expression;
  fl_regex(const re2::StringPiece &pattern, const re2::RE2::Options &options)
      : expression(pattern, options) {}
};

// One expression may hold this much compiled program and DFA cache: RE2's own default.
static constexpr int64_t kMaxMemory = 8 << 20;

fl_regex *fl_regex_compile(const char *pattern, size_t length, char *error, size_t error_capacity) {
  re2::RE2::Options options;
  options.set_max_mem(kMaxMemory);
  options.set_log_errors(false);
  auto *regex = new (std::nothrow) fl_regex(re2::StringPiece(pattern, length), options);
  if (regex != nullptr && regex->expression.ok()) return regex;
  if (error_capacity > 0) {
    const std::string &message = regex ? regex->expression.error() : std::string("out of memory");
    size_t count = message.size() < error_capacity - 1 ? message.size() : error_capacity - 1;
    memcpy(error, message.data(), count);
    error[count] = 0;
  }
  delete regex;
  return nullptr;
}

int32_t fl_regex_full_match(const fl_regex *regex, const uint8_t *text, size_t length) {
  re2::StringPiece piece(reinterpret_cast<const char *>(text), length);
  return regex->expression.Match(piece, 0, length, re2::RE2::ANCHOR_BOTH, nullptr, 0) ? 1 : 0;
}

int64_t fl_regex_replace_all(const fl_regex *regex, const uint8_t *text, size_t length,
                             const uint8_t *substitution, size_t substitution_length,
                             uint8_t *out, size_t capacity) {
  re2::StringPiece rewrite(reinterpret_cast<const char *>(substitution), substitution_length);
  std::string ignored;
  if (!regex->expression.CheckRewriteString(rewrite, &ignored)) return -1;
  std::string result(reinterpret_cast<const char *>(text), length);
  re2::RE2::GlobalReplace(&result, regex->expression, rewrite);
  if (capacity > 0) memcpy(out, result.data(), result.size() < capacity ? result.size() : capacity);
  return static_cast<int64_t>(result.size());
}

void fl_regex_free(fl_regex *regex) { delete regex; }
