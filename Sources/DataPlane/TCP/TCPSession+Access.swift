import Engine
import Routing

// The rules of access in front of a session, which are asked when its client says something.
extension Ref where Value == TCPSession {
  /// SAFETY: a slot never moves, so that a stored property of it has one address.
  private var access: Ref<ConnectionAccess> {
    unsafe withUnsafeMutablePointer(to: &value.access) { unsafe Ref<ConnectionAccess>($0) }
  }

  /// The client has said something, or that it has nothing to say: whether it may go on. If not, the
  /// session is about to end.
  func mayGoOn() -> Bool {
    guard value.access.phase != .settled, let chain = value.chain else { return true }
    guard value.access.phase != .refused else { return false }
    let verdict = value.serverName.withBytes { name in
      chain.value.filters.judge(
        ConnectionSubject(
          local: value.local, remote: value.remote, directRemote: value.directRemote,
          secured: value.downstreamSecured, serverName: name, told: value.told, access: access),
        stats, loop)
    }
    guard case .refused(let delay) = verdict else { return true }
    value.closeReason = .accessDenied
    guard delay > 0 else {
      close()
      return false
    }
    downstream.pauseReading()
    value.connectTimer = unsafe loop.after(milliseconds: delay, context: raw) { raw, _ in
      let session = unsafe Ref<TCPSession>(raw: raw)
      session.value.connectTimer = .none
      session.close()
    }
    return false
  }
}
