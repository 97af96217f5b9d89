import CRE2
import Engine

/// A compiled RE2 expression that lasts as long as the resource that it belongs to. The only file that
/// sees such pointers.
///
/// Matching takes time linear in the text, whatever the expression; any thread may use it.
@safe
package struct Regex: BitwiseCopyable {
  private let raw: OpaquePointer

  /// Why an expression or a substitution was refused.
  package struct Refusal: Error {
    package let message: String
  }

  /// Compiles an expression.
  package init(_ pattern: String) throws(Refusal) {
    let text = Bytes.configured(pattern)
    var message = ErrorText()
    // SAFETY: the text and the buffer outlive the call. The object goes with its resource.
    let compiled = unsafe fl_regex_compile(
      UnsafeRawPointer(text.base).assumingMemoryBound(to: CChar.self), text.count,
      &message.bytes, ErrorText.capacity)
    guard let compiled = unsafe compiled else { throw Refusal(message: message.string) }
    unsafe raw = compiled
    ResourceMemory.atEnd { unsafe fl_regex_free(compiled) }
  }

  /// Whether the whole text matches.
  package func matches(_ text: Bytes) -> Bool {
    unsafe fl_regex_full_match(raw, text.base, text.count) == 1
  }

  /// Checks a substitution and keeps it.
  package func substitution(_ text: String) throws(Refusal) -> Substitution {
    let kept = Bytes.configured(text)
    var message = ErrorText()
    // SAFETY: as in `init`.
    let isValid = unsafe fl_regex_check_substitution(
      raw, kept.base, kept.count, &message.bytes, ErrorText.capacity)
    guard isValid == 1 else { throw Refusal(message: message.string) }
    return Substitution(regex: self, text: kept)
  }

  /// An expression with a substitution that fits it.
  package struct Substitution: BitwiseCopyable {
    fileprivate let regex: Regex
    fileprivate let text: Bytes

    /// Appends `input`, every match replaced, to `block`. False, and nothing appended, when it does
    /// not fit.
    package func replaceAll(in input: Bytes, appendingTo block: Block) -> Bool {
      let room = block.capacity - block.used
      // SAFETY: the shim writes at most `room` bytes behind the bytes in use.
      let length = unsafe fl_regex_replace_all(
        regex.raw, input.base, input.count, text.base, text.count, block.base + block.used, room)
      guard length <= room else { return false }
      block.used += length
      return true
    }
  }
}

/// A compiled RE2 expression that goes when nobody needs it any more: for what people ask for while
/// the process runs, such as a filter of `/stats`.
@safe
package final class RegexQuery {
  private let raw: OpaquePointer

  /// Compiles an expression.
  package init(_ pattern: String) throws(Regex.Refusal) {
    var message = ErrorText()
    let bytes = Array(pattern.utf8)
    let compiled = unsafe bytes.withUnsafeBufferPointer { text in
      // SAFETY: RE2 keeps a copy of the text, and writes no more of a sentence than it is told.
      unsafe text.withMemoryRebound(to: CChar.self) { text in
        unsafe fl_regex_compile(text.baseAddress, text.count, &message.bytes, ErrorText.capacity)
      }
    }
    guard let compiled = unsafe compiled else { throw Regex.Refusal(message: message.string) }
    // SAFETY: fresh and unshared; released once, in `deinit`.
    unsafe raw = compiled
  }

  deinit { unsafe fl_regex_free(raw) }

  /// Whether the whole text matches.
  package func matches(_ text: String) -> Bool {
    Bytes.with(text) { unsafe fl_regex_full_match(raw, $0.base, $0.count) == 1 }
  }

  /// Whether a part of the text matches.
  package func isFound(in text: String) -> Bool {
    Bytes.with(text) { unsafe fl_regex_partial_match(raw, $0.base, $0.count) == 1 }
  }
}

/// Room for a sentence of RE2.
private struct ErrorText {
  static let capacity = 256
  var bytes = [CChar](repeating: 0, count: capacity)

  var string: String {
    String(decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
