import CRE2

/// Expressions as every proxy reads them.
enum Expression {
  /// The longest that Istio takes, in bytes.
  static let longest = 1024

  /// What RE2 has against an expression; nil when it takes it.
  /// - Parameter substitution: what replaces its matches, where something does.
  static func mistake(in pattern: String, substitution: String? = nil) -> String? {
    var text = [CChar](repeating: 0, count: 256)
    let capacity = text.count
    let bytes = Array(pattern.utf8)
    // SAFETY: both buffers outlive the call, which ends the text with a zero within its capacity.
    let compiled = unsafe bytes.withUnsafeBytes { bytes in
      unsafe fl_regex_compile(
        bytes.bindMemory(to: CChar.self).baseAddress, bytes.count, &text, capacity)
    }
    guard let compiled = unsafe compiled else { return string(text) }
    // SAFETY: made above, and freed once.
    defer { unsafe fl_regex_free(compiled) }
    guard let substitution else { return nil }
    let replacement = Array(substitution.utf8)
    // SAFETY: as above.
    let fits = unsafe replacement.withUnsafeBufferPointer {
      unsafe fl_regex_check_substitution(compiled, $0.baseAddress, $0.count, &text, capacity)
    }
    return fits == 1 ? nil : string(text)
  }

  private static func string(_ text: [CChar]) -> String {
    String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
