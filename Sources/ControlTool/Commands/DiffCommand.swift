import ArgumentParser

/// `fairleadctl diff`.
struct DiffCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff",
    abstract: "Show what changed files would alter, proxy by proxy, before they are applied.",
    discussion: """
      The exit code is 2 when something would change. Resources are shown as the control plane would \
      serve them: - what is served now, + what would be.
      """)

  @OptionGroup var files: FileOptions

  @Option(name: [.short, .long], help: "The namespace of objects that name none.")
  var namespace: String?

  @OptionGroup var control: ControlOption
  @OptionGroup var table: TableOptions

  func validate() throws {
    guard !files.files.isEmpty else { throw ValidationError("say which files: -f FILE") }
  }

  func run() throws {
    let answer = try control.objects.post(
      "diff", [("namespace", namespace)], files: try files.read())
    if table.output == .short {
      Console.write(ServedDifference.text(answer))
    } else {
      Console.write(table.output.text(answer))
    }
    let changes = answer["objects"].items.contains { $0["result"].text != "unchanged" }
    guard answer["differences"].items.isEmpty, !changes else { throw ExitCode(2) }
  }
}
