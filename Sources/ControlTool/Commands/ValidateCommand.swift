import ArgumentParser
import MeshAnalysis
import MeshModel
import Resources

/// `fairleadctl validate`.
struct ValidateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "validate",
    abstract: "Check files of objects as the control plane does before they take effect.",
    discussion: """
      Each object is looked at by itself: its fields, and what they say together. 'analyze' looks at all of \
      them together. The exit code is 1 when something is wrong.
      """)

  @Option(
    name: [.customShort("f"), .customLong("filename")], parsing: .upToNextOption,
    help: ArgumentHelp("Files, directories, or - for standard input.", valueName: "file"))
  var named: [String] = []

  @Argument(help: "The same.")
  var files: [String] = []

  @Flag(name: [.customShort("R"), .long], help: "Look into directories within directories.")
  var recursive = false

  func validate() throws {
    if named.isEmpty, files.isEmpty {
      throw ValidationError("Say which files: fairleadctl validate -f rules.yaml")
    }
  }

  func run() throws {
    let contents = try ObjectFiles.contents(named + files, isRecursive: recursive)
    var store = MeshStore(check: ObjectCheck.check)
    _ = store.update(contents)
    let found = store.diagnostics
    for diagnostic in found { Console.write(diagnostic.description + "\n") }
    let bad = Set(found.filter { $0.severity == .error }.map(\.file))
    for name in contents.keys.sorted() where !bad.contains(name) {
      Console.write("\"\(name)\" is valid\n")
    }
    guard bad.isEmpty else {
      let count = found.count { $0.severity == .error }
      Console.note(
        "\(count) \(count == 1 ? "mistake" : "mistakes") in \(bad.count) "
          + "\(bad.count == 1 ? "file" : "files"): see the lines above")
      throw ExitCode(1)
    }
  }
}
