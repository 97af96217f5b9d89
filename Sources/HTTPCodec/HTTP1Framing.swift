import Engine
import HTTPModel

/// How a message's body ends (RFC 9112 §6.3).
package enum BodyFraming: Equatable {
  case none
  case length(Int)
  case chunked
  /// A response only: the body ends when the connection does.
  case untilClose

  /// Nothing follows the head.
  @inline(__always)
  package var isNone: Bool {
    if case .none = self { return true }
    return false
  }

  @inline(__always)
  fileprivate var endsWithConnection: Bool {
    if case .untilClose = self { return true }
    return false
  }
}

/// What a message's fields say about the connection and the body.
package struct MessageFraming {
  package var body: BodyFraming
  /// The connection may carry another message.
  package var keepAlive: Bool
  /// The peer says that it will close, or speaks HTTP/1.0 without a word of staying.
  package var announcesClose = false
  /// `Connection` names `upgrade`, and `Upgrade` says to what.
  package var wantsUpgrade: Bool
}

package enum HTTP1Framing {
  /// The framing of a request whose fields are in `head`.
  package static func request(_ head: borrowing HeaderMap, minor: Int) -> (
    MessageFraming, HTTP1Error?
  ) {
    let (body, error) = bodyFraming(head, minor: minor)
    let options = connectionOptions(head, minor: minor)
    let framing = MessageFraming(
      body: body ?? .none, keepAlive: options.keepAlive,
      wantsUpgrade: options.upgrade && wantsUpgrade(head))
    return (framing, error)
  }

  /// `h2c` is not on offer, and ignoring an offer is what RFC 9110 §7.8 asks for.
  private static func wantsUpgrade(_ head: borrowing HeaderMap) -> Bool {
    head[.upgrade].map { !$0.equalsIgnoringCase("h2c") } ?? false
  }

  /// The framing of a response, given the request's method.
  package static func response(
    _ head: borrowing HeaderMap, status: Int, minor: Int, toHEAD: Bool
  ) -> (MessageFraming, HTTP1Error?) {
    var (declared, error) = bodyFraming(head, minor: minor)
    // RFC 9110 §8.6, RFC 9112 §6.1: whoever announces a body here does not agree with us on what
    // follows. A length of 0 announces none.
    if status < 200 || status == 204, error == nil, let declared {
      switch declared {
      case .none: break
      case .chunked: error = .transferEncoding
      case .length, .untilClose: error = .contentLength
      }
    }
    let options = connectionOptions(head, minor: minor)
    let body: BodyFraming
    if toHEAD || Status.forbidsBody(status) {
      body = .none
    } else {
      body = declared ?? .untilClose
    }
    let keepAlive = options.keepAlive && !body.endsWithConnection
    let upgrade = status == 101 && options.upgrade && head.contains(.upgrade)
    let framing = MessageFraming(
      body: body, keepAlive: keepAlive, announcesClose: !options.keepAlive, wantsUpgrade: upgrade)
    return (framing, error)
  }

  /// What Content-Length and Transfer-Encoding say; nil when there is neither.
  private static func bodyFraming(
    _ head: borrowing HeaderMap, minor: Int
  ) -> (BodyFraming?, HTTP1Error?) {
    let length = head.find(.contentLength)
    if head.contains(.transferEncoding) {
      // A length beside it is a smuggling attempt (§6.3 rule 3), and HTTP/1.0 has no codings (§6.1).
      guard length == nil else { return (nil, .contentLength) }
      guard minor == 1 else { return (nil, .transferEncoding) }
      if let error = checkTransferEncoding(head) { return (nil, error) }
      return (.chunked, nil)
    }
    guard let length else { return (nil, nil) }
    guard !head.isRepeated(.contentLength), let bytes = head.value(length).decimal else {
      return (nil, .contentLength)
    }
    return (bytes == 0 ? BodyFraming.none : .length(bytes), nil)
  }

  private static func checkTransferEncoding(_ head: borrowing HeaderMap) -> HTTP1Error? {
    guard !head.isRepeated(.transferEncoding), let value = head[.transferEncoding] else {
      return .transferEncoding
    }
    if value.equalsIgnoringCase("chunked") { return nil }
    var list = TokenList(value)
    var codings = 0
    var chunked = 0
    var lastIsChunked = false
    while let token = list.next() {
      guard token.isToken else { return .transferEncoding }
      codings += 1
      lastIsChunked = token.equalsIgnoringCase("chunked")
      if lastIsChunked { chunked += 1 }
    }
    guard chunked == 1, lastIsChunked else {
      return chunked == 0 && codings > 0 ? .unsupportedTransferEncoding : .transferEncoding
    }
    return codings == 1 ? .transferEncoding : .unsupportedTransferEncoding
  }

  /// What the Connection fields say about keeping the connection and upgrading it.
  private static func connectionOptions(
    _ head: borrowing HeaderMap, minor: Int
  ) -> (keepAlive: Bool, upgrade: Bool) {
    var keepAlive = minor == 1
    var upgrade = false
    guard head.mayHave(anyOf: HeaderIDSet(.connection)) else { return (keepAlive, upgrade) }
    var position = 0
    while let index = head.find(HeaderID.connection.name, id: .connection, from: position) {
      var list = TokenList(head.value(index))
      while let token = list.next() {
        if token.equalsIgnoringCase("close") {
          return (false, upgrade)
        } else if token.equalsIgnoringCase("keep-alive") {
          keepAlive = true
        } else if token.equalsIgnoringCase("upgrade") {
          upgrade = true
        }
      }
      position = index + 1
    }
    return (keepAlive, upgrade)
  }

  /// Removes what belongs to one hop (RFC 9110 §7.6.1): the fields that Connection names, and those
  /// that always do.
  /// - Parameter upgrade: the connection is being upgraded, so `Upgrade` and `Connection` stay.
  package static func removeHopByHop(_ head: inout HeaderMap, keepingUpgrade upgrade: Bool) {
    guard head.mayHave(anyOf: hopByHop) else { return }
    var position = 0
    while let index = head.find(HeaderID.connection.name, id: .connection, from: position) {
      removeNamed(in: head.value(index), from: &head)
      position = index + 1
    }
    head.remove(anyOf: .proxyConnection | .keepAlive | .http2Settings)
    if !upgrade { head.remove(anyOf: .connection | .upgrade) }
  }

  private static var hopByHop: HeaderIDSet {
    .connection | .upgrade | .proxyConnection | .keepAlive | .http2Settings
  }

  /// `te: trailers` is the one value that crosses hops in practice (gRPC over HTTP/2).
  package static func reduceTE(of head: inout HeaderMap, from pool: inout BlockPool) {
    guard let te = head[.te], !te.equalsIgnoringCase("trailers") else { return }
    var list = TokenList(te)
    while let token = list.next() {
      if token.equalsIgnoringCase("trailers") {
        return head.set(.te, Bytes("trailers"), from: &pool)
      }
    }
    head.remove(.te)
  }

  private static func removeNamed(in value: Bytes, from head: inout HeaderMap) {
    var list = TokenList(value)
    while let token = list.next() {
      if token.equalsIgnoringCase("close") || token.equalsIgnoringCase("keep-alive")
        || token.equalsIgnoringCase("upgrade") || token.equalsIgnoringCase("te")
      {
        continue
      }
      removeIgnoringCase(token, from: &head)
    }
  }

  private static func removeIgnoringCase(_ token: Bytes, from head: inout HeaderMap) {
    var index = 0
    while index < head.count {
      // What frames or addresses the message is not the peer's to strip.
      let id = head.entry(index).id
      let isProtected =
        id.isPseudo || id == .host || id == .contentLength || id == .transferEncoding
      if !isProtected, head.isLive(index), head.name(index).equalsIgnoringCase(token) {
        head.remove(at: index)
      }
      index += 1
    }
  }
}

/// Members of a comma-separated list (RFC 9110 §5.6.1), trimmed; empty members are skipped.
package struct TokenList {
  private let value: Bytes
  private var position = 0

  package init(_ value: Bytes) { self.value = value }

  package mutating func next() -> Bytes? {
    while position < value.count {
      let end = value.firstIndex(of: UInt8(ascii: ","), from: position) ?? value.count
      let member = value[position, end].trimmed
      position = end + 1
      if !member.isEmpty { return member }
    }
    return nil
  }
}

extension Bytes {
  /// A token of RFC 9110 §5.6.2.
  package var isToken: Bool {
    guard !isEmpty else { return false }
    let marks = Bytes("!#$%&'*+-.^_`|~")
    var index = 0
    while index < count {
      let byte = self[index]
      let isLetter = ASCII.lower(byte) &- 97 < 26
      guard isLetter || ASCII.isDigit(byte) || marks.firstIndex(of: byte) != nil else {
        return false
      }
      index += 1
    }
    return true
  }
}
