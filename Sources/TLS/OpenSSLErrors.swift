import COpenSSL

/// The calling thread's queue of OpenSSL errors, as words.
enum OpenSSLErrors {
  /// Forgets what earlier calls left behind.
  static func clear() { ERR_clear_error() }

  /// The first error's code, which stays in the queue; 0 when there is none.
  static var first: UInt { ERR_peek_error() }

  /// OpenSSL's reason for a code, such as "no shared cipher".
  static func reason(_ code: UInt) -> String {
    guard let text = unsafe ERR_reason_error_string(code) else {
      // A system error: the library has no words for it, the C library has.
      return code == 0 ? "unknown error" : "error \(fl_tls_error_reason(code))"
    }
    return unsafe String(cString: text)
  }

  /// Empties the queue: all its reasons, the first cause first.
  static func take() -> String {
    var reasons: [String] = []
    while true {
      let code = ERR_get_error()
      guard code != 0 else { break }
      let text = reason(code)
      // A chain of layers often repeats one reason.
      if reasons.last != text { reasons.append(text) }
    }
    return reasons.isEmpty ? "unknown error" : reasons.joined(separator: ": ")
  }
}
