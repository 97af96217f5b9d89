/// Collects every mistake of a configuration: those of the reader, and those that later passes find
/// by path or by node.
package final class Diagnostics {
  /// The most that are kept. A file with more has one mistake made often, and a hostile one must
  /// not turn each of its bytes into a line.
  package static let limit = 1_000

  /// Set once the configuration has been read, so that paths lead to lines.
  var tree: ConfigTree?
  /// Names of the files, in the order in which they were read.
  let files: [String]
  private var found: [Found] = []
  package private(set) var errorCount = 0
  /// How many were found beyond `limit`.
  package private(set) var omittedCount = 0

  private struct Found {
    let location: SourceLocation
    let path: ConfigPath
    let diagnostic: Diagnostic
  }

  package init(files: [String]) { self.files = files }

  /// Everything found, in the order in which it was, with the steps to each place.
  var steps: [(path: ConfigPath, diagnostic: Diagnostic)] {
    found.map { ($0.path, $0.diagnostic) }
  }

  package var hasErrors: Bool { errorCount > 0 }

  /// Whether looking for more is of no use to anyone.
  var isFull: Bool { found.count >= Self.limit }

  /// Everything found, in the order of files, lines and columns.
  package var all: [Diagnostic] {
    found.enumerated().sorted { one, other in
      let a = one.element.location
      let b = other.element.location
      return (a.file, a.line, a.column, one.offset) < (b.file, b.line, b.column, other.offset)
    }.map(\.element.diagnostic)
  }

  /// Everything found, one line each, for standard error.
  package var rendered: [String] {
    let lines = all.map(\.description)
    return omittedCount == 0 ? lines : lines + ["\(omittedCount) more not shown"]
  }

  /// Reports a mistake at a path; if nothing stands there, at the nearest place above it.
  package func error(at path: ConfigPath, _ message: String) {
    report(.error, message, path: path, at: location(of: path))
  }

  /// Whether an earlier pass has found a mistake at exactly this place.
  package func hasError(at path: ConfigPath) -> Bool {
    let text = path.description
    return found.contains { $0.diagnostic.severity == .error && $0.diagnostic.path == text }
  }

  /// Reports something legal that is probably not meant.
  package func warning(at path: ConfigPath, _ message: String) {
    report(.warning, message, path: path, at: location(of: path))
  }

  /// Reports a mistake at a node of the tree, such as a filter module found it.
  package func error(at node: ConfigNode, _ message: String) {
    report(.error, message, path: node.path, at: node.location)
  }

  /// The place in the files that a path leads to.
  package func location(of path: ConfigPath) -> SourceLocation {
    guard let tree else { return SourceLocation(file: 0, line: 0, column: 0) }
    return tree.nearestNode(at: path).location
  }

  /// What was found at a path and below it, by itself: later passes add to the part alone.
  func part(below path: ConfigPath) -> Diagnostics {
    let part = Diagnostics(files: files)
    part.tree = tree
    let prefix = path.description
    part.found = found.filter { one in
      guard !prefix.isEmpty else { return true }
      let diagnostic = one.diagnostic
      guard diagnostic.path.hasPrefix(prefix) else { return false }
      let rest = diagnostic.path.utf8.dropFirst(prefix.utf8.count)
      return rest.isEmpty || rest.first == UInt8(ascii: ".") || rest.first == UInt8(ascii: "[")
    }
    part.errorCount = part.found.count { $0.diagnostic.severity == .error }
    return part
  }

  func report(
    _ severity: Diagnostic.Severity, _ message: String, path: ConfigPath, at place: SourceLocation
  ) {
    if severity == .error { errorCount += 1 }
    guard found.count < Self.limit else {
      omittedCount += 1
      return
    }
    let file = files.indices.contains(place.file) ? files[place.file] : "configuration"
    found.append(
      Found(
        location: place, path: path,
        diagnostic: Diagnostic(
          severity: severity, file: file, line: place.line, column: place.column,
          path: path.description, message: message)))
  }
}
