/// Every bound on what one peer can make us hold or do that no configuration changes. A limit
/// without a reason is a guess.
package enum Limits {
  /// Trailers of one message, in bytes. Nobody needs more, and nobody may use them to hold memory
  /// that the head's limit does not see.
  package static let trailerBytes = 16 * 1024

  /// One chunk's size line with its extensions. Extensions are dropped, so a longer line would be
  /// work for nothing.
  package static let chunkLineBytes = 256

  /// Empty lines before a request line (RFC 9112 §2.2 asks to ignore at least one).
  package static let leadingEmptyLines = 2

  /// Interim (1xx) responses to one request: an upstream that sends more is not answering.
  package static let interimResponses = 16

  /// The largest head that `max_request_headers_kb` may allow, in bytes: what one block holds with
  /// its table of fields.
  package static let headBytes = 192 * 1024
}
