import Engine
import HTTPModel
import Inspection
import Telemetry

/// A listener filter, compiled. It looks at what a connection says first, mostly without taking it.
enum ListenerFilter: BitwiseCopyable {
  /// Asks the kernel where a redirected connection was meant to go.
  case originalDestination
  case tls(Ref<TLSInspector>)
  case http(Ref<HTTPInspector>)
  case proxyProtocol(Ref<ProxyProtocol>)

  /// `envoy.filters.listener.tls_inspector`.
  struct TLSInspector {
    let maxHelloBytes: Int
    let closesOnError: Bool
    let stats: Stats

    struct Stats {
      let found: CounterID
      let notFound: CounterID
      let nameFound: CounterID
      let nameNotFound: CounterID
      let protocolsFound: CounterID
      let protocolsNotFound: CounterID
      let tooLarge: CounterID
      let bytesProcessed: HistogramID

      init(in store: StatsStore) {
        let scope = "tls_inspector."
        found = store.counter(scope + "tls_found")
        notFound = store.counter(scope + "tls_not_found")
        nameFound = store.counter(scope + "sni_found")
        nameNotFound = store.counter(scope + "sni_not_found")
        protocolsFound = store.counter(scope + "alpn_found")
        protocolsNotFound = store.counter(scope + "alpn_not_found")
        tooLarge = store.counter(scope + "client_hello_too_large")
        bytesProcessed = store.histogram(scope + "bytes_processed")
      }
    }
  }

  /// `envoy.filters.listener.http_inspector`.
  struct HTTPInspector {
    let http10Found: CounterID
    let http11Found: CounterID
    let http2Found: CounterID
    let notFound: CounterID

    init(in store: StatsStore) {
      let scope = "http_inspector."
      http10Found = store.counter(scope + "http10_found")
      http11Found = store.counter(scope + "http11_found")
      http2Found = store.counter(scope + "http2_found")
      notFound = store.counter(scope + "http_not_found")
    }
  }

  /// `envoy.filters.listener.proxy_protocol`.
  struct ProxyProtocol {
    let allowsAbsence: Bool
    let allowsV1: Bool
    let allowsV2: Bool
    /// What is kept for endpoints, and what for logs and filters.
    let passed: ProxyTLVTypes
    let rules: Table<ProxyTLVRule>
    let stats: Stats

    struct Stats {
      let absenceAllowed: CounterID
      let absenceRefused: CounterID
      /// Headers with mistakes, of all listeners.
      let error: CounterID
      let v1: VersionStats
      let v2: VersionStats

      /// - Parameter prefix: `stat_prefix`; may be empty.
      init(prefix: String, in store: StatsStore) {
        let scope = prefix.isEmpty ? "proxy_proto." : "proxy_proto.\(prefix)."
        absenceAllowed = store.counter(scope + "not_found_allowed")
        absenceRefused = store.counter(scope + "not_found_disallowed")
        error = store.counter("downstream_cx_proxy_proto_error")
        v1 = VersionStats(scope: scope + "versions.v1.", in: store)
        v2 = VersionStats(scope: scope + "versions.v2.", in: store)
      }
    }

    struct VersionStats {
      let found: CounterID
      let refused: CounterID
      let error: CounterID

      init(scope: String, in store: StatsStore) {
        found = store.counter(scope + "found")
        refused = store.counter(scope + "disallowed")
        error = store.counter(scope + "error")
      }
    }
  }

  /// What a filter makes of the bytes that are there.
  enum Verdict {
    /// The next filter's turn, once so many bytes have been taken off the connection.
    case pass(taking: Int)
    case needsMore
    case close
  }

  /// Looks at a connection's first bytes.
  /// - Parameter stats: where this worker counts.
  func look(at bytes: Bytes, facts: inout ConnectionFacts, stats: WorkerStats) -> Verdict {
    switch self {
    case .originalDestination: .pass(taking: 0)
    case .tls(let inspector): inspector.look(at: bytes, &facts, stats)
    case .http(let inspector): inspector.look(at: bytes, &facts, stats)
    case .proxyProtocol(let reader): reader.look(at: bytes, &facts, stats)
    }
  }

  /// The filter has something to say before the client has said anything.
  var needsNoBytes: Bool {
    if case .originalDestination = self { true } else { false }
  }
}

extension Ref where Value == ListenerFilter.TLSInspector {
  fileprivate func look(
    at bytes: Bytes, _ facts: inout ConnectionFacts, _ stats: WorkerStats
  ) -> ListenerFilter.Verdict {
    let counters = value.stats
    switch ClientHello.inspect(bytes, limit: value.maxHelloBytes) {
    case .incomplete: return .needsMore
    case .found(let hello):
      facts.transport = .tls
      facts.hello = hello
      stats.add(counters.found)
      stats.add(hello.serverName.count > 0 ? counters.nameFound : counters.nameNotFound)
      stats.add(hello.protocols.count > 0 ? counters.protocolsFound : counters.protocolsNotFound)
      stats.record(counters.bytesProcessed, UInt64(clamping: hello.byteCount))
      return .pass(taking: 0)
    case .absent:
      stats.add(counters.notFound)
      stats.record(counters.bytesProcessed, UInt64(clamping: bytes.count))
      return .pass(taking: 0)
    case .malformed where bytes.count >= value.maxHelloBytes:
      stats.add(counters.tooLarge)
      return .close
    case .malformed:
      stats.add(counters.notFound)
      return value.closesOnError ? .close : .pass(taking: 0)
    }
  }
}

extension Ref where Value == ListenerFilter.HTTPInspector {
  fileprivate func look(
    at bytes: Bytes, _ facts: inout ConnectionFacts, _ stats: WorkerStats
  ) -> ListenerFilter.Verdict {
    // What is encrypted tells its protocol by ALPN.
    if case .tls = facts.transport { return .pass(taking: 0) }
    switch HTTPOpening.inspect(bytes, limit: Limits.inspectedRequestLineBytes) {
    case .incomplete: return .needsMore
    case .absent, .malformed: stats.add(value.notFound)
    case .found(let opening):
      facts.opening = opening
      switch opening {
      case .http10: stats.add(value.http10Found)
      case .http11: stats.add(value.http11Found)
      case .http2: stats.add(value.http2Found)
      }
    }
    return .pass(taking: 0)
  }
}

extension Ref where Value == ListenerFilter.ProxyProtocol {
  fileprivate func look(
    at bytes: Bytes, _ facts: inout ConnectionFacts, _ stats: WorkerStats
  ) -> ListenerFilter.Verdict {
    switch ProxyHeader.inspect(bytes) {
    case .incomplete: return .needsMore
    case .absent:
      let allowed = value.allowsAbsence
      stats.add(allowed ? value.stats.absenceAllowed : value.stats.absenceRefused)
      return allowed ? .pass(taking: 0) : .close
    case .malformed:
      // Only version 2 begins with a line's end.
      stats.add(bytes[0] == 13 ? value.stats.v2.error : value.stats.v1.error)
      stats.add(value.stats.error)
      return .close
    case .found(let header):
      let isV1 = header.version == .v1
      let counters = isV1 ? value.stats.v1 : value.stats.v2
      guard isV1 ? value.allowsV1 : value.allowsV2 else {
        stats.add(counters.refused)
        // Where a header is not needed, one that is not wanted belongs to the client's own bytes.
        return value.allowsAbsence ? .pass(taking: 0) : .close
      }
      stats.add(counters.found)
      if let addresses = header.addresses {
        facts.remote = addresses.source
        if !(facts.local == addresses.destination) { facts.restore(addresses.destination) }
      }
      if !header.tlvs.isEmpty {
        facts.told = ConnectionTLVs(header.tlvs, passing: value.passed, noting: value.rules)
      }
      return .pass(taking: header.byteCount)
    }
  }
}
