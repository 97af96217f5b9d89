import AdminHTTP
import MeshAnalysis
import MeshModel
import Telemetry

/// What is wrong with the mesh, for people and their tools.
enum AnalysisPages {
  /// Every message of the last look.
  static func messages(_ analyst: MeshAnalyst) -> AdminJSON {
    let found = analyst.findings
    return .object([
      ("analyzedAt", .string(found.at == 0 ? "" : RFC3339.text(nanoseconds: found.at))),
      ("seconds", .double(found.seconds)),
      ("pending", .bool(analyst.isStale || found.at == 0)),
      ("messages", .array(found.messages.map(message))),
    ])
  }

  static func message(_ message: AnalysisMessage) -> AdminJSON {
    .object([
      ("code", .string(message.code.code)),
      ("name", .string(message.code.name)),
      ("level", .string(message.code.level.rawValue)),
      ("kind", .string(message.object?.kind.rawValue ?? "")),
      ("namespace", .string(message.object?.namespace ?? "")),
      ("object", .string(message.object?.name ?? "")),
      ("field", .string(message.field)),
      ("file", .string(message.file)),
      ("line", .integer(Int64(message.line))),
      ("message", .string(message.text)),
    ])
  }

  /// An object's status, in the shape that Istio writes.
  /// - Parameters:
  ///   - messages: its own.
  ///   - clients: how many have all that they are to have, and how many there are.
  static func status(
    _ entry: MeshStore.Entry, _ messages: [AnalysisMessage], clients: (current: Int, all: Int)
  ) -> AdminJSON {
    let isTrue: String
    let reason: String
    let text: String
    if entry.isRefused {
      isTrue = "False"
      reason = "ValidationFailed"
      text = entry.object == nil ? "not in force" : "the last good version is in force"
    } else {
      isTrue = clients.current == clients.all ? "True" : "Unknown"
      reason = clients.current == clients.all ? "UpToDate" : "InProgress"
      text = "\(clients.current)/\(clients.all) proxies up to date."
    }
    return .object([
      (
        "conditions",
        .array([
          .object([
            ("type", .string("Reconciled")), ("status", .string(isTrue)),
            ("reason", .string(reason)), ("message", .string(text)),
          ])
        ])
      ),
      ("validationMessages", validationMessages(messages)),
    ])
  }

  /// An object's messages, in the shape that Istio writes.
  static func validationMessages(_ messages: [AnalysisMessage]) -> AdminJSON {
    .array(
      messages.map { one in
        .object([
          (
            "type",
            .object([("name", .string(one.code.name)), ("code", .string(one.code.code))])
          ),
          ("level", .string(one.code.level.rawValue.uppercased())),
          ("documentationUrl", .string(one.code.documentation)),
          ("message", .string(one.text)),
        ])
      })
  }
}
