/// A place in a file. Lines and columns count from one; zero means that the place is not known,
/// as for a resource that came over xDS.
package struct SourceLocation: Sendable, Hashable {
  /// Index into the names of the files that were read.
  var file: Int
  package var line: Int
  package var column: Int

  package init(file: Int, line: Int, column: Int) {
    self.file = file
    self.line = line
    self.column = column
  }
}

/// One mistake (or one doubt) in a configuration.
package struct Diagnostic: Sendable, Hashable {
  package enum Severity: Sendable { case error, warning }

  package let severity: Severity
  package let file: String
  package let line: Int
  package let column: Int
  /// Such as `static_resources.clusters[0].name`; empty for the document itself.
  package let path: String
  package let message: String
}

extension Diagnostic: CustomStringConvertible {
  /// `file:line:column: path: message`, on one line whatever the configuration contains.
  package var description: String {
    var text = file
    if line > 0 { text += ":\(line):\(column)" }
    text += ": "
    if severity == .warning { text += "warning: " }
    if !path.isEmpty { text += path + ": " }
    return oneLine(text + message)
  }

  /// Names and values from the file may hold anything; a report that spans lines, or that sends
  /// control sequences to a terminal, would hide another.
  private func oneLine(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: Self.isControl) else { return text }
    var result = ""
    for scalar in text.unicodeScalars {
      if Self.isControl(scalar) {
        result += "\\u{\(String(scalar.value, radix: 16))}"
      } else {
        result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// Unicode's category Cc, which is these two ranges for good.
  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
  }
}
