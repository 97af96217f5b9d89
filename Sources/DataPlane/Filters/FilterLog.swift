import CFilterABI
import Engine
import Telemetry

/// What filters write into the proxy's log.
enum FilterLog {
  static func write(_ level: fl_log_level, _ message: Bytes) {
    let known: ProcessLogLevel =
      switch level {
      case FL_LOG_TRACE: .trace
      case FL_LOG_DEBUG: .debug
      case FL_LOG_INFO: .info
      case FL_LOG_WARN: .warning
      case FL_LOG_ERROR: .error
      default: .critical
      }
    ProcessLog.shared.log(known, .filter, message.string)
  }
}
