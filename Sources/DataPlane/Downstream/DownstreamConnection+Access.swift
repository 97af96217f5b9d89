import Engine
import Routing

// The rules of access in front of a connection manager, which are asked when a client says something.
extension Ref where Value == DownstreamConnection {
  /// SAFETY: a slot never moves, so that a stored property of it has one address.
  private var access: Ref<ConnectionAccess> {
    unsafe withUnsafeMutablePointer(to: &value.access) { unsafe Ref<ConnectionAccess>($0) }
  }

  /// The client has said something: whether it may go on. If not, the connection is about to end.
  @inline(__always)
  func mayGoOn() -> Bool { value.access.phase == .settled || isAdmitted() }

  private func isAdmitted() -> Bool {
    guard let chain = value.chain else { return true }
    guard value.access.phase != .refused else { return false }
    let verdict = withServerName { name in
      chain.value.filters.judge(
        ConnectionSubject(
          local: value.local, remote: value.remote, directRemote: value.directRemote,
          secured: value.secured, serverName: name, told: value.told, access: access),
        held.value.stats, loop)
    }
    guard case .refused(let delay) = verdict else { return true }
    value.closeReason = .accessDenied
    guard delay > 0 else {
      close()
      return false
    }
    connection.pauseReading()
    loop.cancel(value.closeTimer)
    value.closeTimer = unsafe loop.after(milliseconds: delay, context: raw) { raw, _ in
      let downstream = unsafe Downstream(raw: raw)
      downstream.value.closeTimer = .none
      downstream.close()
    }
    return false
  }

  /// Lends the name that the client asked the connection for, in lower case; empty where it named
  /// nothing, or where no filter of the listener has looked, as in Envoy.
  private func withServerName<Result>(_ body: (Bytes) -> Result) -> Result {
    guard value.wasInspected, let name = facts?.serverName else { return body(.empty) }
    var lower = InlineArray<255, UInt8>(repeating: 0)
    let count = min(name.count, 255)
    for index in 0..<count { lower[index] = ASCII.lower(name[index]) }
    // SAFETY: the array lives for the call.
    return unsafe lower.span.withUnsafeBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return body(.empty) }
      return body(unsafe Bytes(base: base, count: count))
    }
  }

  /// Whether the name that the client asked the connection for fits.
  func fitsServerName(_ matcher: StringMatcher) -> Bool {
    withServerName { matcher.matches($0) }
  }
}
