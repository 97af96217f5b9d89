import ArgumentParser

/// Which files a command is about.
struct FileOptions: ParsableArguments {
  @Option(
    name: [.customShort("f"), .customLong("filename")],
    help: "A file, a directory, or - for standard input; may be repeated.")
  var files: [String] = []

  @Flag(
    name: [.customShort("R"), .customLong("recursive")], help: "Directories below directories, too."
  )
  var isRecursive = false

  func read() throws(ToolError) -> [ObjectFiles.File] {
    try ObjectFiles.read(files, isRecursive: isRecursive)
  }
}

/// Whether something is done, or only looked at.
enum DryRun: String, ExpressibleByArgument, CaseIterable {
  case none
  case server

  var parameter: (name: String, value: String?) { ("dryRun", self == .server ? "All" : nil) }
  var note: String { self == .server ? " (server dry run)" : "" }
}

/// How objects are written.
enum ObjectOutput: String, ExpressibleByArgument, CaseIterable {
  case short
  case wide
  case name
  case json
  case yaml
}

/// Names of objects as kubectl takes them: `vs reviews ratings`, `vs/reviews dr/reviews`.
enum ObjectNames {
  /// Kinds with names; a kind alone stands for all of it.
  static func read(_ words: [String]) throws(ToolError) -> [(kind: String, name: String?)] {
    guard let first = words.first else {
      throw ToolError("which kind of object?", remedy: "Say one: virtualservices, vs, svc, all.")
    }
    if words.contains(where: { $0.contains("/") }) {
      return try words.map { word throws(ToolError) in
        let parts = word.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
          throw ToolError("'\(word)' is no KIND/NAME")
        }
        return (parts[0], parts[1])
      }
    }
    let kinds = first.split(separator: ",").map(String.init)
    let names = words.dropFirst()
    return names.isEmpty
      ? kinds.map { ($0, nil) } : kinds.flatMap { kind in names.map { (kind, $0) } }
  }
}

extension ControlOption {
  /// Where objects are kept.
  var objects: ObjectClient {
    get throws(ToolError) { ObjectClient(plane: try client) }
  }
}

/// Times as people write them: `30s`, `2m`, `1h`, or a number of seconds.
enum Seconds {
  static func read(_ text: String) throws(ToolError) -> Int {
    let units: [Character: Int] = ["s": 1, "m": 60, "h": 3600]
    let unit = text.last.flatMap { units[$0] }
    guard let count = Int(unit == nil ? text : String(text.dropLast())),
      (0...1_000_000).contains(count)
    else { throw ToolError("'\(text)' is no time", remedy: "Say 30s, 2m or 1h.") }
    return count * (unit ?? 1)
  }
}
