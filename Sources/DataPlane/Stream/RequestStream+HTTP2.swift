import Engine
import HTTPModel
import Telemetry

// What only heads of HTTP/2 need: the rest of their way is every request's.
extension Ref where Value == RequestStream {
  /// Makes one field of a cookie's pieces (RFC 9113 §8.2.3). False when it was answered here.
  func joinCookies() -> Bool {
    guard value.requestHead.occurrences(of: .cookie) > 1 else { return true }
    let state = loop.state
    let block = state.value.blocks.take(min(value.requestHead.textBytes * 2, BlockPool.largest))
    defer { state.value.blocks.release(block) }
    var out = unsafe ByteWriter(base: block.base, capacity: block.capacity)
    var index = 0
    while index < value.requestHead.count {
      if value.requestHead.isLive(index), value.requestHead.entry(index).id == .cookie {
        if out.count > 0 { out.append("; ") }
        out.append(value.requestHead.value(index))
      }
      index += 1
    }
    value.requestHead.remove(.cookie)
    value.requestHead.add(.cookie, out.written, from: &state.value.blocks)
    guard !out.overflowed, !value.requestHead.overflowed else {
      refuseHTTP2(.headTooLarge)
      return false
    }
    return true
  }

  /// What HTTP/1's parser refuses, and nghttp2 lets through. False when it was answered here.
  func checkHTTP2Syntax() -> Bool {
    if let path = value.requestHead[.path] {
      var index = 0
      while index < path.count {
        // Visible ASCII only: a raw byte beyond it has no place in a target (RFC 3986 §2).
        guard path[index] > 32, path[index] < 127 else { return refuseHTTP2Syntax() }
        index += 1
      }
    }
    return manager.value.underscores == .allow || checkUnderscores()
  }

  /// `:authority` names the host; `Host` may only say the same (RFC 9113 §8.3.1). False when it was
  /// answered here.
  func takeHTTP2Host() -> Bool {
    guard value.requestHead.occurrences(of: .host) <= 1 else { return refuseHTTP2Syntax() }
    if let authority = value.requestHead[.authority] {
      guard HostRules.isValid(authority) else { return refuseHTTP2Syntax() }
      if let host = value.requestHead[.host], !host.equalsIgnoringCase(authority) {
        return refuseHTTP2Syntax()
      }
      value.requestHead.remove(.host)
      return true
    }
    guard let index = value.requestHead.find(.host) else {
      replyLocally(.missingHost)
      return false
    }
    guard HostRules.isValid(value.requestHead.value(index)) else { return refuseHTTP2Syntax() }
    value.requestHead.rename(index, toPseudo: .authority)
    return true
  }
}
