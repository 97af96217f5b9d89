import MeshAnalysis
import MeshModel

/// Messages, as `analyze` shows them.
package struct AnalysisReport {
  package var messages: [AnalysisMessage]

  package init(_ messages: [AnalysisMessage]) { self.messages = messages }

  /// What a control plane tells at `/debug/analysis`.
  package init(_ document: JSONValue) {
    messages = document["messages"].items.compactMap { entry in
      // A newer control plane may know codes that this program does not: they are shown all the same.
      let level = AnalysisCode.Level(rawValue: entry["level"].text) ?? .error
      let code =
        AnalysisCode.all.first { $0.code == entry["code"].text }
        ?? AnalysisCode(entry["code"].text, entry["name"].text, level)
      let id = MeshKind(rawValue: entry["kind"].text).map {
        ObjectID($0, entry["namespace"].text, entry["object"].text)
      }
      return AnalysisMessage(
        code: code, object: id, text: entry["message"].text, field: entry["field"].text,
        file: entry["file"].text, line: entry["line"].integerValue ?? 0)
    }
  }

  /// How an answer is written: istioctl's names.
  package enum Form: String, CaseIterable, Sendable {
    case log
    case json
    case yaml
  }

  /// - Parameter isColored: the level in istioctl's colours, for a terminal.
  package func text(_ form: Form, isColored: Bool) -> String {
    switch form {
    case .log:
      messages.map { Self.line($0, isColored: isColored) + "\n" }.joined()
    case .json: JSONWriter.write(document) + "\n"
    case .yaml: YAMLWriter.write(document)
    }
  }

  private static func line(_ message: AnalysisMessage, isColored: Bool) -> String {
    let line = oneLine(message.description)
    let color =
      switch message.code.level {
      case .error: "\u{1B}[1;31m"
      case .warning: "\u{1B}[33m"
      case .info: ""
      }
    guard isColored, !color.isEmpty else { return line }
    let level = message.code.level.rawValue
    return color + level + "\u{1B}[0m" + line.dropFirst(level.count)
  }

  /// Names come from files, and may hold anything: no message becomes two, or drives a terminal.
  private static func oneLine(_ text: String) -> String {
    var out = ""
    for scalar in text.unicodeScalars {
      if scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) {
        out += "\\u{\(String(scalar.value, radix: 16))}"
      } else {
        out.unicodeScalars.append(scalar)
      }
    }
    return out
  }

  private var document: JSONValue {
    .array(
      messages.map { message in
        var members = [
          JSONMember("code", .string(message.code.code)),
          JSONMember("documentationUrl", .string(message.code.documentation)),
          JSONMember("level", .string(message.code.level.rawValue)),
          JSONMember("message", .string(message.text)),
        ]
        if let object = message.object {
          members.append(JSONMember("origin", .string(object.description)))
        }
        if !message.reference.isEmpty {
          members.append(JSONMember("reference", .string(message.reference)))
        }
        if !message.field.isEmpty {
          members.append(JSONMember("field", .string(message.field)))
        }
        return .object(members)
      })
  }

  /// The messages of a namespace, and those that belong to none; nil: of all.
  package func inside(_ namespace: String?) -> AnalysisReport {
    guard let namespace else { return self }
    return AnalysisReport(
      messages.filter { message in
        guard let object = message.object, !object.namespace.isEmpty else { return true }
        return object.namespace == namespace
      })
  }

  /// Those at least so bad.
  package func atLeast(_ level: AnalysisCode.Level) -> AnalysisReport {
    AnalysisReport(messages.filter { $0.code.level >= level })
  }

  /// Those that nobody asked not to see.
  package func without(_ suppressions: [Suppression]) -> AnalysisReport {
    AnalysisReport(
      messages.filter { message in !suppressions.contains { $0.covers(message) } })
  }
}
