/// `overload_manager`, compiled.
struct OverloadConfig {
  /// Milliseconds between two looks at the monitors.
  var refreshInterval: UInt64 = 1000
  var monitors: [Monitor] = []
  var rules: [Rule] = []
  /// Clients' connections that may be open in the whole process; nil: as many as come.
  var connectionLimit: UInt64?

  /// What is measured: the process's memory, against what it may have.
  struct Monitor {
    let name: String
    let maxBytes: UInt64
  }

  /// When an action is taken: its level is that of the highest trigger.
  struct Rule {
    let action: OverloadAction
    /// Each with the number of its monitor.
    let triggers: [(monitor: Int, trigger: PressureTrigger)]
  }
}

/// What is done against overload, under Envoy's names.
enum OverloadAction: String, CaseIterable {
  case stopAcceptingRequests = "envoy.overload_actions.stop_accepting_requests"
  case disableKeepalive = "envoy.overload_actions.disable_http_keepalive"
  case stopAcceptingConnections = "envoy.overload_actions.stop_accepting_connections"
  case rejectConnections = "envoy.overload_actions.reject_incoming_connections"
}

/// How far a pressure turns an action on.
enum PressureTrigger: Equatable {
  /// Wholly from there on, and below not at all.
  case threshold(Double)
  /// More and more between two pressures.
  case scaled(from: Double, to: Double)

  /// From 0 to 1.
  func level(at pressure: Double) -> Double {
    switch self {
    case .threshold(let value): return pressure >= value ? 1 : 0
    case .scaled(let first, let last):
      guard pressure > first else { return 0 }
      return pressure >= last ? 1 : (pressure - first) / (last - first)
    }
  }
}
