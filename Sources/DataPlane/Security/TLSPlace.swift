import Engine
import TLS
import Telemetry

/// What one worker needs for the connections of one TLS configuration. Only that worker touches it:
/// a newer context comes by its mailbox.
struct TLSPlace {
  /// nil as long as a secret is not there: no connection can begin.
  private(set) var context: TLSContext?
  let stats: Ref<TLSStats>
  let counters: NamedCounters
  /// Sessions that a client may resume.
  let sessions: SessionCache
  let client: ClientNames
  let worker: WorkerStats

  /// Whom a client asks for.
  struct ClientNames {
    var serverName = ""
    /// The endpoint's host name takes its place.
    var usesHostname = false
    var matchesServerName = false
    /// Sessions kept for resumption.
    var sessionCount = 1

    /// As in Envoy, the request's name goes before the endpoint's, and that before the configured.
    func serverName(of hostname: Bytes, asked: RequestedName) -> String {
      if !asked.serverName.isEmpty { return asked.serverName.string }
      return usesHostname && !hostname.isEmpty ? hostname.string : serverName
    }
  }

  init(
    _ context: TLSContext?, stats: Ref<TLSStats>, counters: NamedCounters, client: ClientNames,
    worker: WorkerStats
  ) {
    self.context = context
    self.stats = stats
    self.counters = counters
    self.client = client
    self.worker = worker
    sessions = SessionCache(capacity: client.sessionCount)
  }

  /// The same without counting it, for a place that looks by itself.
  mutating func follow(_ newer: TLSContext?) {
    guard newer !== context else { return }
    context = newer
    sessions.removeAll()
  }

  /// New connections use it; those there are keep what they began with.
  mutating func adopt(_ newer: TLSContext) {
    context = newer
    // Agreed upon under other rules.
    sessions.removeAll()
  }

  /// A connection cannot begin, since a secret is not there.
  func countNotReady(isClient: Bool) {
    worker.add(isClient ? stats.value.upstreamNotReady : stats.value.downstreamNotReady)
  }

  /// A handshake has succeeded.
  func count(finished session: borrowing TLSSession) {
    countVerification(session)
    worker.add(stats.value.handshake)
    if session.isResumed { worker.add(stats.value.sessionReused) }
    if !session.hasPeerCertificate { worker.add(stats.value.noCertificate) }
    counters.add("ciphers.\(session.cipher)", worker)
    counters.add("versions.\(session.version)", worker)
    let curve = session.curve
    if !curve.isEmpty { counters.add("curves.\(curve)", worker) }
    let signature = session.signatureAlgorithm
    if !signature.isEmpty { counters.add("sigalgs.\(signature)", worker) }
  }

  /// A handshake, or what followed it, has failed.
  func count(failed session: borrowing TLSSession) {
    if session.failedVerification { return countVerification(session) }
    if session.lacksCertificate { return worker.add(stats.value.failVerifyNoCert) }
    // Who just leaves has made no mistake.
    if !session.endedEarly { worker.add(stats.value.connectionError) }
  }

  private func countVerification(_ session: borrowing TLSSession) {
    switch session.verification {
    case .none, .verified: return
    case .chainFailed: worker.add(stats.value.failVerifyError)
    case .nameFailed: worker.add(stats.value.failVerifySAN)
    case .digestFailed: worker.add(stats.value.failVerifyHash)
    }
  }
}

/// `<scope>.ssl.…`, and what Envoy counts of the factory that makes the sockets.
struct TLSStats {
  let handshake: CounterID
  let connectionError: CounterID
  let sessionReused: CounterID
  let noCertificate: CounterID
  let failVerifyNoCert: CounterID
  let failVerifyError: CounterID
  let failVerifySAN: CounterID
  let failVerifyHash: CounterID
  /// Connections that could not begin, since a secret was not there.
  let downstreamNotReady: CounterID
  let upstreamNotReady: CounterID
  /// Secrets and changed files that were taken over, and changed files that were refused.
  let updated: CounterID
  let refused: CounterID

  /// - Parameters:
  ///   - scope: ends with a dot.
  ///   - factory: `server_ssl_socket_factory` or `client_ssl_socket_factory`.
  init(scope: String, factory: String, in store: StatsStore) {
    func counter(_ name: String) -> CounterID { store.counter("\(scope)ssl.\(name)") }
    handshake = counter("handshake")
    connectionError = counter("connection_error")
    sessionReused = counter("session_reused")
    noCertificate = counter("no_certificate")
    failVerifyNoCert = counter("fail_verify_no_cert")
    failVerifyError = counter("fail_verify_error")
    failVerifySAN = counter("fail_verify_san")
    failVerifyHash = counter("fail_verify_cert_hash")
    downstreamNotReady = store.counter(
      "\(scope)\(factory).downstream_context_secrets_not_ready")
    upstreamNotReady = store.counter("\(scope)\(factory).upstream_context_secrets_not_ready")
    updated = store.counter("\(scope)\(factory).ssl_context_update_by_sds")
    refused = store.counter("\(scope)\(factory).ssl_context_update_refused")
  }
}

/// Counters whose names come with the first thing that is counted: a cipher, a curve. The main thread
/// registers each, once; until then a worker keeps its counts.
final class NamedCounters {
  private let scope: String
  // SAFETY: opened only in messages to the main loop.
  private nonisolated(unsafe) let store: StatsStore
  private let main: Mailbox
  private let own: Mailbox
  private var ids: [String: CounterID] = [:]
  private var waiting: [String: UInt64] = [:]

  /// - Parameter scope: ends with a dot.
  init(scope: String, store: StatsStore, main: Mailbox, own: Mailbox) {
    self.scope = scope
    unsafe self.store = store
    self.main = main
    self.own = own
  }

  /// Counts one; the worker's thread.
  func add(_ name: String, _ stats: WorkerStats) {
    if let id = ids[name] { return stats.add(id) }
    if let count = waiting[name] {
      waiting[name] = count &+ 1
      return
    }
    waiting[name] = 1
    // SAFETY: handed through two mailboxes and opened again on the worker's own thread.
    nonisolated(unsafe) let counters = self
    main.post { _ in
      let id = unsafe counters.store.counter(counters.scope + name)
      unsafe counters.own.post { _ in unsafe counters.learn(name, id, stats) }
    }
  }

  private func learn(_ name: String, _ id: CounterID, _ stats: WorkerStats) {
    ids[name] = id
    if let count = waiting.removeValue(forKey: name) { stats.add(id, count) }
  }
}
