import Engine

/// What is known against a host, as `/clusters` names it (`health_flags`).
package struct HostFlags: OptionSet, BitwiseCopyable, Sendable {
  package let rawValue: UInt16
  package init(rawValue: UInt16) { self.rawValue = rawValue }

  package static let failedActive = HostFlags(rawValue: 1 << 0)
  package static let failedEDS = HostFlags(rawValue: 1 << 2)
  package static let degradedActive = HostFlags(rawValue: 1 << 3)
  package static let degradedEDS = HostFlags(rawValue: 1 << 4)
  /// The cluster no longer has it, but its checks succeed: it leaves when they fail.
  package static let pendingRemoval = HostFlags(rawValue: 1 << 5)
  /// Not checked yet, in a cluster that does not count such hosts.
  package static let pendingActive = HostFlags(rawValue: 1 << 6)
  /// It asked to be left out.
  package static let excluded = HostFlags(rawValue: 1 << 7)
  /// The last check was not answered in time.
  package static let timedOut = HostFlags(rawValue: 1 << 8)

  /// A host that has not been checked: not to be used before it was found to be healthy.
  package static func unchecked(in cluster: Ref<ClusterConfig>) -> HostFlags {
    cluster.value.ignoresUncheckedHosts ? [.failedActive, .pendingActive] : .failedActive
  }

  private static let failures: HostFlags = [.failedActive, .failedEDS]
  private static let degradations: HostFlags = [.degradedActive, .degradedEDS]

  /// It does not count among its priority's hosts.
  var excludes: Bool { !isDisjoint(with: [.pendingActive, .excluded]) }

  /// How far the host may be used.
  var health: HostHealth {
    if !isDisjoint(with: Self.failures) { return .unhealthy }
    return isDisjoint(with: Self.degradations) ? .healthy : .degraded
  }

  /// In Envoy's order.
  package static let named: [(flag: HostFlags, name: String)] = [
    (.failedActive, "failed_active_hc"), (.failedEDS, "failed_eds_health"),
    (.degradedActive, "degraded_active_hc"), (.degradedEDS, "degraded_eds_health"),
    (.pendingRemoval, "pending_dynamic_removal"), (.pendingActive, "pending_active_hc"),
    (.excluded, "excluded_via_immediate_hc_fail"),
    (.timedOut, "active_hc_timeout"),
  ]

  /// `healthy`, or each flag behind a slash.
  package var text: String {
    let names = Self.named.filter { contains($0.flag) }.map(\.name)
    return names.isEmpty ? "healthy" : names.map { "/" + $0 }.joined()
  }
}

extension HostHealth {
  /// What the configuration says about a host, as a flag.
  var flags: HostFlags {
    switch self {
    case .healthy: []
    case .degraded: .degradedEDS
    case .unhealthy: .failedEDS
    }
  }
}
