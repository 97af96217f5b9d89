import CLinux
import Engine
import TLS

// A client's connection through TLS: the handshake comes before the first request, and within its own
// time.
extension Ref where Value == DownstreamConnection {
  /// Puts TLS in between, before anything is read.
  func secure(_ security: ChainSecurity) {
    // Opening may have ended it already.
    guard value.connection.isOpen else { return }
    let place = held.value.tls.places[security.place]
    guard let secured = SecureHandle.server(place, fd: value.connection.fd) else {
      return close(reset: true)
    }
    unsafe connection.secure(SecureConnection.transport, context: secured.raw)
    value.secured = secured
    if let counters = value.terminal?.manager.value.stats {
      held.value.stats.add(counters.value.cxSSLTotal)
      held.value.stats.gaugeAdd(counters.value.cxSSLActive, 1)
    }
    guard security.handshakeLimit > 0 else { return }
    value.handshakeTimer = unsafe loop.after(
      milliseconds: security.handshakeLimit, context: raw
    ) { raw, _ in
      let downstream = unsafe Downstream(raw: raw)
      downstream.value.handshakeTimer = .none
      if let listener = downstream.value.listener { listener.countHandshakeTimeout() }
      downstream.value.closeReason = .handshakeTimeout
      downstream.close()
    }
  }

  /// The handshake is over: 0, or it has failed, and there is nobody to talk to.
  func handshakeEnded(_ error: Int32) {
    loop.cancel(value.handshakeTimer)
    value.handshakeTimer = .none
    guard error != 0 else { return }
    value.listener?.tellHandshakeFailed(
      with: value.directRemote, value.secured?.failureText ?? "")
    // Counted as the client's end of it, as Envoy does.
    value.endOfInput = true
    close()
  }

  /// What the client showed and what was agreed upon; nil for plain connections.
  var facts: TLSFacts? { value.connection.isOpen ? value.secured?.facts : nil }
}
