import CLinux
import Telemetry

/// `server.…`: what the process says about itself, set when statistics are read.
struct ServerGauges {
  private let live: GaugeID
  private let state: GaugeID
  private let uptime: GaugeID
  private let concurrency: GaugeID
  private let totalConnections: GaugeID
  private let allocated: GaugeID
  private let heap: GaugeID
  private let resident: GaugeID

  private let daysUntilExpiry: GaugeID

  init(store: StatsStore) {
    daysUntilExpiry = store.gauge("server.days_until_first_cert_expiring")
    live = store.gauge("server.live")
    state = store.gauge("server.state")
    uptime = store.gauge("server.uptime")
    concurrency = store.gauge("server.concurrency")
    totalConnections = store.gauge("server.total_connections")
    allocated = store.gauge("server.memory_allocated")
    heap = store.gauge("server.memory_heap_size")
    resident = store.gauge("server.memory_physical_size")
  }

  func refresh(_ server: Server) {
    let stats = server.config.store.main
    stats.gaugeSet(live, server.state == .live ? 1 : 0)
    stats.gaugeSet(state, Int64(server.state.rawValue))
    stats.gaugeSet(
      uptime, Int64((fl_monotonic_ns() &- server.startedAt) / 1_000_000_000))
    stats.gaugeSet(concurrency, Int64(server.workers.count))
    stats.gaugeSet(
      totalConnections, server.links.reduce(0) { $0 + $1.openConnections })
    // Envoy's number where there is no certificate.
    stats.gaugeSet(
      daysUntilExpiry,
      Int64(CertificatesPage.daysUntilFirst(in: server.config.tls) ?? Int(UInt32.max)))
    let memory = MemoryUsage()
    stats.gaugeSet(allocated, Int64(clamping: memory.allocated))
    stats.gaugeSet(heap, Int64(clamping: memory.heap))
    stats.gaugeSet(resident, Int64(clamping: memory.resident))
  }
}
