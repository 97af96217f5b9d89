import MeshModel
import Resources

/// One thing that is wrong, or doubtful, with what people write.
package struct AnalysisMessage: Sendable, Equatable {
  package let code: AnalysisCode
  /// Whose it is; nil when a file as a whole is meant.
  package let object: ObjectID?
  package let text: String
  /// Such as `spec.ports[0].name`; empty for the object itself.
  package let field: String
  package var file: String
  /// Of the field, where the file is known; else of the object. 0: unknown.
  package var line: Int
  /// The field, for who looks for its place.
  let path: ConfigPath
  /// Codes that the object itself asks not to be told of.
  let suppressed: Set<String>

  init(
    _ code: AnalysisCode, _ object: ObjectID?, _ text: String, at path: ConfigPath = .root,
    file: String = "", line: Int = 0, suppressed: Set<String> = []
  ) {
    self.code = code
    self.object = object
    self.text = text
    self.path = path
    self.suppressed = suppressed
    self.file = file
    self.line = line
    field = path.description
  }

  /// A message that was told by another program, in words.
  package init(
    code: AnalysisCode, object: ObjectID?, text: String, field: String, file: String, line: Int
  ) {
    self.code = code
    self.object = object
    self.text = text
    self.field = field
    self.file = file
    self.line = line
    path = .root
    suppressed = []
  }

  /// `file.yaml:12`; empty when it is not known.
  package var reference: String {
    file.isEmpty ? "" : line > 0 ? "\(file):\(line)" : file
  }

  /// ` (VirtualService default/reviews file.yaml:12)`.
  package var origin: String {
    let parts = [object?.description ?? "", reference].filter { !$0.isEmpty }
    return parts.isEmpty ? "" : " (" + parts.joined(separator: " ") + ")"
  }
}

extension AnalysisMessage: CustomStringConvertible {
  /// `Error [IST0101] (VirtualService default/reviews file.yaml:12) Referenced host not found: "a"`.
  package var description: String { "\(code.level.rawValue) [\(code.code)]\(origin) \(text)" }
}

extension AnalysisMessage {
  /// The order in which messages are shown: the worst first, then by object and place.
  static func comesBefore(_ one: AnalysisMessage, _ other: AnalysisMessage) -> Bool {
    if one.code.level != other.code.level { return one.code.level > other.code.level }
    if one.code.code != other.code.code { return one.code.code < other.code.code }
    let (left, right) = (one.object?.description ?? "", other.object?.description ?? "")
    if left != right { return left < right }
    return (one.file, one.line, one.field, one.text)
      < (other.file, other.line, other.field, other.text)
  }
}

/// Messages that nobody wants: `IST0102=Pod web.default`, where `*` stands for anything in the name.
package struct Suppression: Sendable, Equatable {
  package let code: String
  package let resource: String

  /// Nil when it is not `<code>=<resource>`.
  package init?(_ text: String) {
    let parts = text.split(separator: "=", omittingEmptySubsequences: false)
    guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else { return nil }
    code = String(parts[0])
    resource = String(parts[1])
  }

  /// Whether a message is meant. Names are Istio's: `Pod web.default`.
  package func covers(_ message: AnalysisMessage) -> Bool {
    guard message.code.code == code, let object = message.object else { return false }
    let name =
      object.namespace.isEmpty
      ? "\(object.kind.rawValue) \(object.name)"
      : "\(object.kind.rawValue) \(object.name).\(object.namespace)"
    return Self.matches(Array(resource.utf8)[...], Array(name.utf8)[...])
  }

  /// Whether a pattern, in which `*` stands for any number of characters, covers a text. Goes back to the
  /// last star alone, so that it takes the product of two lengths at most.
  private static func matches(_ pattern: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>) -> Bool {
    let star = UInt8(ascii: "*")
    var (at, place) = (pattern.startIndex, text.startIndex)
    var resume: (pattern: Int, text: Int)?
    while place < text.endIndex {
      if at < pattern.endIndex, pattern[at] == star {
        resume = (at + 1, place)
        at += 1
      } else if at < pattern.endIndex, pattern[at] == text[place] {
        at += 1
        place += 1
      } else if let last = resume {
        resume = (last.pattern, last.text + 1)
        (at, place) = (last.pattern, last.text + 1)
      } else {
        return false
      }
    }
    return pattern[at...].allSatisfy { $0 == star }
  }
}
