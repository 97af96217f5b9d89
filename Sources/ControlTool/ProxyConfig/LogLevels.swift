/// Levels that a person asks for: `debug`, or `http:debug,redis:trace`.
package struct LogLevels: Equatable {
  package static let names = ["trace", "debug", "info", "warning", "error", "critical", "off"]

  /// The path and query that set them.
  package let target: String

  package init(_ text: String) throws(ToolError) {
    var single: [String] = []
    for entry in text.split(separator: ",", omittingEmptySubsequences: false) {
      let parts = entry.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
      guard let level = parts.last, parts.count <= 2, !parts[0].isEmpty else {
        throw ToolError(
          "'\(entry)' is no level", remedy: "Say a level, or logger:level: http:debug,pool:trace.")
      }
      let name = level == "warn" ? "warning" : level
      guard Self.names.contains(name) else {
        throw ToolError(
          "'\(level)' is no level", remedy: "Levels are \(Self.names.joined(separator: ", ")).")
      }
      if parts.count == 1 || parts[0] == "all" {
        guard !text.contains(",") else {
          throw ToolError(
            "'\(entry)' is for all loggers, so nothing else can be said beside it",
            remedy: "Set it first, and the single loggers with a second command.")
        }
        target = "/logging?level=\(name)"
        return
      }
      single.append("\(parts[0]):\(name)")
    }
    target =
      "/logging?paths=" + single.map { ControlPlaneClient.escaped($0) }.joined(separator: ",")
  }

  /// What a proxy starts with under Istio, for `--reset`.
  package static let reset = "/logging?level=warning"
}
