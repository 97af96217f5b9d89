import Engine
import Telemetry

/// One configured access log: what it tells of, in what form, and where to.
struct AccessLog {
  let filter: AccessLogFilter?
  let format: LogFormat
  /// Which of the writer's logs it goes to.
  let target: LogTargetID
}

extension Table where Element == Ref<AccessLog> {
  /// Writes a line to every log that wants one.
  func write(_ exchange: some LoggedExchange, on worker: Ref<Worker>) {
    var index = 0
    while index < count {
      let log = self[index]
      index += 1
      if let filter = log.value.filter, !filter.passes(exchange) { continue }
      worker.value.logs.append(
        log.value.format, exchange, with: worker.value.renderer, to: log.value.target,
        now: worker.value.loop.now / 1_000_000)
    }
  }
}

extension Ref where Value == RequestStream {
  /// Tells the connection manager's access logs of this request.
  func log() {
    guard value.isCounted else { return }
    manager.value.accessLogs.write(StreamLogSource(self), on: worker)
  }
}

extension Ref where Value == DownstreamConnection {
  /// Tells the listener's access logs of this connection, which is about to be closed.
  func log(to listener: Ref<ActiveListener>) {
    let logs = listener.value.config.value.accessLogs
    guard logs.count > 0 else { return }
    logs.write(ConnectionLogSource(self), on: listener.value.worker)
  }
}
