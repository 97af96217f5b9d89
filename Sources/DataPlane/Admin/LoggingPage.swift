import AdminHTTP
import Telemetry

/// `/logging`: the levels of the proxy's own log, shown and changed.
enum LoggingPage {
  static func respond(_ request: AdminRequest) -> AdminResponse {
    if let problem = apply(request) {
      return AdminResponse(
        status: 400, text: "error: \(problem)\n\n\(usage)\n" + active)
    }
    return AdminResponse(text: active)
  }

  private static var active: String {
    "active loggers:\n"
      + ProcessLogComponent.allCases.map {
        "  \($0.name): \(ProcessLog.shared.level(of: $0).name)\n"
      }.joined()
  }

  private static var usage: String {
    let levels = ProcessLogLevel.allCases.map(\.name).joined(separator: " ")
    return """
      usage: /logging?<name>=<level> (change single level)
      usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)
      usage: /logging?level=<level> (change all levels)
      levels: \(levels)
      """
  }

  /// What is wrong with the request, or nil; nothing is changed then.
  private static func apply(_ request: AdminRequest) -> String? {
    guard let (name, value) = request.query.first else { return nil }
    guard request.query.count == 1 else { return "invalid number of parameters" }
    switch name {
    case "level":
      guard let level = ProcessLogLevel(name: value) else { return "unknown logger level" }
      ProcessLog.shared.setLevel(level)
      return nil
    case "paths": return ProcessLog.shared.setLevels(fromList: value)
    default: return ProcessLog.shared.setLevels(fromList: "\(name):\(value)")
    }
  }
}
