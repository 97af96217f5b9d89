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

  /// A request line that the HTTP inspector waits for: no longer one tells a protocol (Envoy: the
  /// same 8 KiB).
  package static let inspectedRequestLineBytes = 8 * 1024

  /// The largest head that `max_request_headers_kb` may allow, in bytes: what one block holds with
  /// its table of fields.
  package static let headBytes = 192 * 1024

  // MARK: HTTP/2

  /// Frames that want an answer or a look and carry nothing (PING, SETTINGS, unknown types) beyond
  /// those that real traffic earns. A peer that measures round trips needs a few a second.
  package static let controlFrames: UInt64 = 1000
  package static let controlFramesPerSecond: UInt64 = 100

  /// Streams that a peer resets within a second of opening them, once they are most of its streams:
  /// what an upstream sees at most of a rapid reset (CVE-2023-44487).
  package static let prematureResets: UInt64 = 100

  /// Streams that a peer makes us reset by breaking the protocol on them: an honest one makes none
  /// (CVE-2025-8671).
  package static let provokedResets: UInt64 = 100
  package static let provokedResetsPerSecond: UInt64 = 10

  /// CONTINUATION frames of one header section (CVE-2024-27316): as many as nghttp2 takes, which hold
  /// twice the largest head at the smallest frame size that a peer may be told.
  package static let continuationFrames: UInt32 = 8

  /// Bytes that one header section may unpack to before the connection ends: four times the largest
  /// head that is answered at all. Beyond it somebody tries how much a few bytes can become.
  package static let headerSectionBytes = 4 * headBytes

  /// Bytes of one stream's body that wait for its peer's window, before the body's source is asked to
  /// pause: a slow reader costs no more, however many streams it has.
  package static let streamQueueBytes = 64 * 1024

  /// Bytes that wait for one connection's socket before streams are asked to wait: so much stands
  /// between a frame that is urgent and the wire.
  package static let sessionQueueBytes = 256 * 1024
}
