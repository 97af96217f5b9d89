import COpenSSL

/// Sessions of a client that may be resumed, the latest first. Belongs to one thread: a worker has one
/// for each cluster.
@safe
package final class SessionCache {
  @safe private struct Entry {
    let session: OpaquePointer
    /// Whom the connection asked for.
    let name: [UInt8]
    /// What the certificate had to carry besides.
    let required: [UInt8]
  }

  // SAFETY: holds one reference to each session; used by the owning thread only.
  private var entries: [Entry] = []
  private let capacity: Int
  /// The context that sessions are offered for: others were agreed upon under other rules.
  private var context: OpaquePointer?

  /// - Parameter capacity: sessions kept (Envoy: `max_session_keys`); 0 keeps none.
  package init(capacity: Int) { self.capacity = capacity }

  deinit { removeAll() }

  package var count: Int { entries.count }

  /// Forgets them all: they were agreed upon under other rules.
  package func removeAll() {
    for entry in entries { unsafe SSL_SESSION_free(entry.session) }
    entries.removeAll()
  }

  /// Has new sessions of `context` kept by the connection's own cache.
  static func install(on context: OpaquePointer) {
    unsafe SSL_CTX_sess_set_new_cb(context) { ssl, session in
      guard let ssl = unsafe ssl, let session = unsafe session,
        let link = unsafe fl_tls_link_of(ssl), let raw = unsafe link.pointee.sessions
      else { return 0 }
      // SAFETY: whoever opened the session keeps its cache for as long as the session lives.
      let cache = unsafe Unmanaged<SessionCache>.fromOpaque(raw).takeUnretainedValue()
      // A connection of an older context may bring one long after others have begun with the newer.
      guard unsafe SSL_get_SSL_CTX(ssl) == cache.context else { return 0 }
      return unsafe cache.add(
        session, CertificateChoice.serverName(of: ssl) ?? [], Validation.required(link)) ? 1 : 0
    }
  }

  /// Takes over the session when there is room for any.
  private func add(_ session: OpaquePointer, _ name: [UInt8], _ required: [UInt8]) -> Bool {
    guard capacity > 0 else { return false }
    if entries.count == capacity { unsafe SSL_SESSION_free(entries.removeLast().session) }
    entries.insert(unsafe Entry(session: session, name: name, required: required), at: 0)
    return true
  }

  /// Offers the latest session that was agreed upon for the same names: who was found to be one is not
  /// taken for another. One of TLS 1.3 is offered once:
  /// a second use would tell who watches that both are the same client (RFC 8446 §C.4).
  func offer(to ssl: OpaquePointer, name: String, required: [UInt8]) {
    let present = unsafe SSL_get_SSL_CTX(ssl)
    if unsafe present != context {
      removeAll()
      unsafe context = present
    }
    let wanted = Array(name.utf8)
    guard
      let place = entries.firstIndex(where: { $0.name == wanted && $0.required == required })
    else { return }
    let session = unsafe entries[place].session
    unsafe _ = SSL_set_session(ssl, session)
    if unsafe SSL_SESSION_get_protocol_version(session) == TLS1_3_VERSION {
      entries.remove(at: place)
      unsafe SSL_SESSION_free(session)
    }
  }
}
