import Engine
import Telemetry

/// Looks at the resource monitors from time to time, and turns actions on and off.
final class OverloadMonitor {
  private unowned let server: Server
  private let config: OverloadConfig
  private let levels: OverloadLevels
  private let pressures: [GaugeID]
  private let counters: [Counters]

  private struct Counters {
    let active: GaugeID
    let percent: GaugeID
  }

  private var state: [Double]

  /// nil where nothing is to be watched.
  init?(_ server: Server, _ levels: OverloadLevels) {
    config = server.config.overload
    guard !config.monitors.isEmpty else { return nil }
    self.server = server
    self.levels = levels
    let store = server.config.store
    pressures = config.monitors.map { store.gauge("overload.\($0.name).pressure") }
    counters = config.rules.map { rule in
      let scope = "overload.\(rule.action.rawValue)."
      return Counters(
        active: store.gauge(scope + "active"), percent: store.gauge(scope + "scale_percent"))
    }
    state = config.rules.map { _ in 0 }
    look()
  }

  private func look() {
    let stats = server.config.store.main
    let resident = Double(MemoryUsage().resident)
    let pressure = config.monitors.map { resident / Double($0.maxBytes) }
    for (gauge, value) in zip(pressures, pressure) {
      // A limit of some bytes makes a pressure of many digits.
      stats.gaugeSet(gauge, Int64(min(value * 100, 1e15)))
    }
    for (number, rule) in config.rules.enumerated() {
      let level = rule.triggers.map { $0.trigger.level(at: pressure[$0.monitor]) }.max() ?? 0
      guard level != state[number] else { continue }
      let wasActive = state[number] >= 1
      state[number] = level
      levels.set(rule.action, to: level)
      stats.gaugeSet(counters[number].active, level >= 1 ? 1 : 0)
      stats.gaugeSet(counters[number].percent, Int64(level * 100))
      if wasActive != (level >= 1) { tell(rule.action, isActive: level >= 1) }
    }
    // SAFETY: the server keeps the monitor as long as its loop runs.
    _ = unsafe server.loop.after(
      milliseconds: config.refreshInterval, context: Unmanaged.passUnretained(self).toOpaque()
    ) { raw, _ in unsafe Unmanaged<OverloadMonitor>.fromOpaque(raw).takeUnretainedValue().look() }
  }

  private func tell(_ action: OverloadAction, isActive: Bool) {
    ProcessLog.shared.warning(
      .main, "overload action \(action.rawValue) became \(isActive ? "active" : "inactive")")
    guard action == .stopAcceptingConnections else { return }
    for (worker, link) in zip(server.workers, server.links) {
      let handle = WorkerHandle(worker)
      link.mailbox.post { _ in
        for listener in handle.worker.value.listeners {
          if isActive { listener.suspend() } else { listener.start() }
        }
      }
    }
  }
}
