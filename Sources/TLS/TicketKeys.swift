import COpenSSL
import Synchronization

/// The keys that seal session tickets: the first seals, all open. Shared by every worker's handshakes
/// and by the contexts that follow each other when a certificate changes, so that a client's ticket
/// outlives its certificate.
package final class TicketKeys: Sendable {
  /// Bytes of one key: name, HMAC key, cipher key (Envoy: `session_ticket_keys`).
  package static let keyBytes = 80

  /// A key of our own making seals for a day and opens for another: who steals one reads at most the
  /// sessions of two days.
  private static let lifetimeSeconds = 86_400

  private struct State {
    var keys: [[UInt8]]
    /// When a new one is to be made; nil where the configuration gives the keys.
    var renewal: Int?
  }

  private let state: Mutex<State>

  /// - Parameter keys: each of `keyBytes` bytes; the first seals.
  package init(configured keys: [[UInt8]]) {
    precondition(!keys.isEmpty && keys.allSatisfy { $0.count == Self.keyBytes }, "whole keys")
    state = Mutex(State(keys: keys, renewal: nil))
  }

  /// Random keys that renew themselves.
  package init() { state = Mutex(State(keys: [], renewal: 0)) }

  /// What `key` is asked with: opaque bytes of a ticket.
  static let nameBytes = 16

  /// The key that seals new tickets; nil when the system has no random numbers.
  func sealing(at second: Int) -> [UInt8]? {
    state.withLock { state in
      if let renewal = state.renewal, second >= renewal {
        guard let fresh = Self.random() else { return state.keys.first }
        state.keys = [fresh] + state.keys.prefix(1)
        state.renewal = second + Self.lifetimeSeconds
      }
      return state.keys.first
    }
  }

  /// The key of that name, and whether it is the one that seals now.
  func opening(_ name: [UInt8]) -> (key: [UInt8], isCurrent: Bool)? {
    state.withLock { state in
      guard let index = state.keys.firstIndex(where: { $0.starts(with: name) }) else { return nil }
      return (state.keys[index], index == 0)
    }
  }

  private static func random() -> [UInt8]? {
    var key = [UInt8](repeating: 0, count: keyBytes)
    return unsafe RAND_bytes(&key, Int32(keyBytes)) == 1 ? key : nil
  }
}

extension TicketKeys {
  /// Has tickets of `context` sealed and opened with its state's keys.
  static func install(on context: OpaquePointer) {
    unsafe fl_tls_set_ticket_keys(context) { ssl, name, vector, cipher, mac, seals in
      guard let ssl = unsafe ssl, let name = unsafe name, let vector = unsafe vector,
        let cipher = unsafe cipher, let mac = unsafe mac,
        let keys = unsafe TLSContext.State.of(ssl)?.ticketKeys
      else { return -1 }
      if seals != 0 {
        guard let key = keys.sealing(at: time(nil)) else { return -1 }
        // SAFETY: OpenSSL lends 16 bytes for the key's name.
        for index in 0..<TicketKeys.nameBytes { unsafe name[index] = key[index] }
        return unsafe fl_tls_ticket_cipher(key, vector, cipher, mac, 1)
      }
      let wanted = unsafe Array(UnsafeBufferPointer(start: name, count: TicketKeys.nameBytes))
      // Unknown: 0, and the handshake is a full one.
      guard let found = keys.opening(wanted) else { return 0 }
      guard unsafe fl_tls_ticket_cipher(found.key, vector, cipher, mac, 0) == 1 else { return -1 }
      // 2 asks for a new ticket, sealed with the current key. In TLS 1.3 each is used once.
      return unsafe found.isCurrent && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2
    }
  }
}
