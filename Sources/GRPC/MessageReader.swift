/// Takes gRPC's messages apart: a flag, four bytes of length, the message, and so on, whatever pieces
/// they come in.
package struct MessageReader {
  /// Why the bytes are no messages that we take.
  package enum Failure: Error, Equatable {
    /// The message is compressed; we have offered no compression.
    case compressed
    /// The flag is neither 0 nor 1.
    case badFlag(UInt8)
    case tooLarge(bytes: UInt32, limit: Int)
    /// The stream ended within a message.
    case truncated
  }

  private static let headBytes = 5

  private let limit: Int
  private var buffer: [UInt8] = []
  private var start = 0

  /// - Parameter limit: bytes of one message.
  package init(limit: Int) { self.limit = limit }

  /// More bytes have come.
  package mutating func append(_ bytes: some Sequence<UInt8>) {
    if start == buffer.count {
      buffer.removeAll(keepingCapacity: buffer.capacity <= RPCLimits.gatheredBytes)
      start = 0
    } else if start > RPCLimits.gatheredBytes {
      buffer.removeFirst(start)
      start = 0
    }
    buffer += bytes
  }

  /// Bytes that belong to no whole message yet.
  package var waitingBytes: Int { buffer.count - start }

  /// The next whole message; nil when there is none yet.
  package mutating func next() throws(Failure) -> [UInt8]? {
    guard waitingBytes >= Self.headBytes else { return nil }
    guard buffer[start] <= 1 else { throw .badFlag(buffer[start]) }
    guard buffer[start] == 0 else { throw .compressed }
    let length = buffer[(start + 1)..<(start + Self.headBytes)].reduce(UInt32(0)) {
      $0 << 8 | UInt32($1)
    }
    // Refused by its length, before anything of it is held.
    guard length <= limit else { throw .tooLarge(bytes: length, limit: limit) }
    let end = start + Self.headBytes + Int(length)
    guard buffer.count >= end else { return nil }
    defer { start = end }
    return Array(buffer[(start + Self.headBytes)..<end])
  }

  /// The stream is over.
  package func finish() throws(Failure) {
    guard waitingBytes == 0 else { throw .truncated }
  }

  /// What stands before a message of so many bytes.
  package static func head(of count: Int) -> [UInt8] {
    precondition(count <= UInt32.max, "a message has a length of four bytes")
    let length = UInt32(truncatingIfNeeded: count)
    return [
      0, UInt8(truncatingIfNeeded: length >> 24), UInt8(truncatingIfNeeded: length >> 16),
      UInt8(truncatingIfNeeded: length >> 8), UInt8(truncatingIfNeeded: length),
    ]
  }
}

extension MessageReader.Failure {
  /// What whoever sent such bytes is told.
  /// - Parameter toClient: the bytes came from a client.
  func status(toClient: Bool) -> RPCStatus {
    switch self {
    case .compressed:
      RPCStatus(
        toClient ? .unimplemented : .internal,
        "compressed messages are not supported; send identity"
      )
    case .badFlag(let flag): RPCStatus(.internal, "a message begins with flag \(flag)")
    case .tooLarge(let bytes, let limit):
      RPCStatus(.resourceExhausted, "a message of \(bytes) bytes is over the limit of \(limit)")
    case .truncated: RPCStatus(.internal, "the stream ended within a message")
    }
  }
}
