import CLinux
import Engine
import Telemetry

/// How the process and its listeners come to an end. A drain has three steps, each on every worker:
/// announce (`Connection: close` in every answer), stop listening, and let go of connections that
/// have nothing under way.
extension Server {
  /// How long clients with an idle connection have to use it once more and be told to go: half the
  /// drain, at most this. Closing at once would cut off requests that are on their way.
  private static let longestIdleGraceMilliseconds: UInt64 = 5000

  private var idleGraceMilliseconds: UInt64 {
    let half = UInt64(clamping: max(0, options.drainSeconds)) &* 500
    return min(half, Self.longestIdleGraceMilliseconds)
  }

  private static let checkMilliseconds: UInt64 = 20

  /// SIGTERM, SIGINT: a first one drains, a second one ends at once.
  func requestEnd() {
    guard !isEnding else { return loop.stop() }
    beginEnding()
    ProcessLog.shared.log(.info, .main, "draining; a second signal ends at once")
    announceDrain()
    stopListening()
    let now = fl_monotonic_ns()
    drainDeadline = now &+ UInt64(clamping: max(0, options.drainSeconds)) &* 1_000_000_000
    later(idleGraceMilliseconds) { $0.closeIdleConnections() }
    later(Self.checkMilliseconds) { $0.endWhenDrained() }
  }

  /// `/drain_listeners`: the process stays.
  struct ListenerDrain: Sendable {
    /// Answers say `Connection: close` for the drain time; listeners stop after it.
    var isGraceful = false
    /// Nothing is stopped.
    var keepsListening = false
    /// Only listeners whose `traffic_direction` is INBOUND.
    var onlyInbound = false
  }

  func drainListeners(_ drain: ListenerDrain) {
    ProcessLog.shared.log(.info, .main, "draining listeners")
    let onlyInbound = drain.onlyInbound
    if drain.isGraceful || drain.keepsListening { announceDrain(onlyInbound: onlyInbound) }
    guard !drain.keepsListening else { return }
    guard drain.isGraceful else { return stopListening(onlyInbound: onlyInbound) }
    later(UInt64(clamping: max(0, options.drainSeconds)) &* 1000) {
      $0.stopListening(onlyInbound: onlyInbound)
    }
  }

  // MARK: Steps

  private func announceDrain(onlyInbound: Bool = false) {
    onEveryListener(onlyInbound) { $0.value.isDraining = true }
  }

  private func stopListening(onlyInbound: Bool = false) {
    onEveryListener(onlyInbound) { $0.stop() }
  }

  private func onEveryListener(
    _ onlyInbound: Bool, _ body: @escaping @Sendable (Ref<ActiveListener>) -> Void
  ) {
    onEveryWorker { worker in
      for listener in worker.value.listeners
      where !onlyInbound || listener.value.config.value.isInbound {
        body(listener)
      }
    }
  }

  private func closeIdleConnections() {
    onEveryWorker { worker in
      for downstream in worker.value.openDownstreams { downstream.drain() }
    }
  }

  private func endWhenDrained() {
    // Workers may be late: what waits in a backlog is seen only when they have closed it.
    let isDrained = links.allSatisfy(\.isDrained)
    guard !isDrained, fl_monotonic_ns() < drainDeadline else { return loop.stop() }
    later(Self.checkMilliseconds) { $0.endWhenDrained() }
  }

  func onEveryWorker(_ body: @escaping @Sendable (Ref<Worker>) -> Void) {
    for (worker, link) in zip(workers, links) {
      let handle = WorkerHandle(worker)
      link.mailbox.post { _ in body(handle.worker) }
    }
  }

  func later(_ milliseconds: UInt64, _ body: @escaping (Server) -> Void) {
    let call = DelayedCall(self, body)
    delayedCalls.append(call)
    // SAFETY: the server keeps the call until it has been made, and lives as long as its loop runs.
    _ = unsafe loop.after(
      milliseconds: max(milliseconds, 1), context: Unmanaged.passUnretained(call).toOpaque()
    ) { raw, _ in
      let call = unsafe Unmanaged<DelayedCall>.fromOpaque(raw).takeUnretainedValue()
      call.server.delayedCalls.removeAll { $0 === call }
      call.body(call.server)
    }
  }
}

/// A step of a drain that waits for its time.
final class DelayedCall {
  unowned let server: Server
  let body: (Server) -> Void

  init(_ server: Server, _ body: @escaping (Server) -> Void) {
    self.server = server
    self.body = body
  }
}
