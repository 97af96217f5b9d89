import Engine
import HTTPModel

/// A request to the administration listener.
package struct AdminRequest {
  package let method: String
  package let path: String
  package let query: [(name: String, value: String)]
  package let body: [UInt8]
  /// Who asks.
  package let peer: SocketAddress
  private let fields: [(name: String, value: String)]
  let keepAlive: Bool

  /// - Parameter fields: of the head, with names in lower case.
  package init(
    method: String, target: String, keepAlive: Bool = false, body: [UInt8] = [],
    fields: [(name: String, value: String)] = [], peer: SocketAddress = SocketAddress()
  ) {
    self.fields = fields
    self.peer = peer
    self.method = method
    self.keepAlive = keepAlive
    self.body = body
    let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    path = String(parts.first ?? "")
    query = (parts.count > 1 ? parts[1] : "").split(separator: "&").map { pair in
      let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      return (Self.decoded(sides[0]), sides.count > 1 ? Self.decoded(sides[1]) : "")
    }
  }

  /// A field of the head, by its name in lower case; nil when it is absent.
  package func header(_ name: String) -> String? { fields.first { $0.name == name }?.value }

  /// The request comes from this machine.
  package var isLocal: Bool {
    peer.isUnix || peer.ip.hasPrefix("127.") || peer.ip == "::1"
      || peer.ip.hasPrefix("::ffff:127.")
  }

  /// The first value of a parameter; empty when it stands alone, nil when it is absent.
  package func parameter(_ name: String) -> String? { query.first { $0.name == name }?.value }

  private static func decoded(_ text: Substring) -> String {
    var bytes: [UInt8] = []
    let source = Array(text.utf8)
    var index = 0
    while index < source.count {
      if source[index] == UInt8(ascii: "%"), index + 2 < source.count,
        ASCII.hex(source[index + 1]) < 16, ASCII.hex(source[index + 2]) < 16
      {
        bytes.append(ASCII.hex(source[index + 1]) << 4 | ASCII.hex(source[index + 2]))
        index += 3
      } else {
        bytes.append(source[index])
        index += 1
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

/// An answer of the administration listener.
package struct AdminResponse {
  package enum Body {
    case whole([UInt8])
    /// Made piece by piece, as the reader takes them, so that a long one does not hold up the loop.
    case pieces(any IteratorProtocol<[UInt8]>)
  }

  package var status = 200
  package var contentType = "text/plain; charset=UTF-8"
  /// When to ask again.
  package var retryAfterSeconds: Int?
  package var body: Body

  package init(status: Int = 200, text: String) {
    self.status = status
    body = .whole(Array(text.utf8))
  }

  package init(json: String) {
    contentType = "application/json"
    body = .whole(Array(json.utf8))
  }

  package init(html: String) {
    contentType = "text/html; charset=UTF-8"
    body = .whole(Array(html.utf8))
  }

  package init(contentType: String, pieces: any IteratorProtocol<[UInt8]>) {
    self.contentType = contentType
    body = .pieces(pieces)
  }
}
