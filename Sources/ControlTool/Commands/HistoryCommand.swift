import ArgumentParser

/// `fairleadctl history`.
struct HistoryCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "history",
    abstract: "Show what was applied, deleted and rolled back, when and by whom.")

  @Argument(help: ArgumentHelp("One object: KIND NAME, or KIND/NAME.", valueName: "object"))
  var words: [String] = []

  @Option(name: [.short, .long], help: "The object's namespace.")
  var namespace = "default"

  @OptionGroup var control: ControlOption
  @OptionGroup var table: TableOptions

  func run() throws {
    let object = try OneObject.parameters(words, namespace)
    let answer = try control.objects.get("history", object)
    guard table.output == .short else {
      Console.write(table.output.text(answer))
      return
    }
    let records = answer["revisions"].items
    guard !records.isEmpty else { return Console.note("Nothing has been changed here.") }
    var text = TextTable("REVISION", "TIME", "AUTHOR", "ACTION", "CHANGES")
    for record in records {
      let changes = record["changes"].items.map {
        "\(ObjectClient.title(of: $0)) \($0["result"].text)"
      }
      let shown = changes.prefix(5).joined(separator: ", ")
      text.append(
        "\(record["revision"].integerValue ?? 0)", record["time"].text, record["author"].text,
        record["action"].text,
        shown + (changes.count > 5 ? " and \(changes.count - 5) more" : ""))
    }
    Console.write(text.text)
  }
}

/// `fairleadctl rollback`.
struct RollbackCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rollback",
    abstract: "Have applied objects as they were after an earlier change.",
    discussion: """
      With an object, that one alone: as it was before its last change, or after --to-revision. Without \
      one, everything that was applied.
      """)

  @Argument(help: ArgumentHelp("One object: KIND NAME, or KIND/NAME.", valueName: "object"))
  var words: [String] = []

  @Option(help: "A revision that 'history' shows; 0 is before the first.")
  var toRevision: UInt64?

  @Option(name: [.short, .long], help: "The object's namespace.")
  var namespace = "default"

  @Option(help: "server: say what would happen, and do nothing.")
  var dryRun = DryRun.none

  @OptionGroup var control: ControlOption

  func validate() throws {
    guard !words.isEmpty || toRevision != nil else {
      throw ValidationError("say KIND NAME, or --to-revision")
    }
  }

  func run() throws {
    let parameters =
      try OneObject.parameters(words, namespace)
      + [("revision", toRevision.map(String.init)), dryRun.parameter]
    let answer = try control.objects.change("POST", "rollback", parameters)
    let objects = answer["objects"].items
    if objects.isEmpty { Console.note("Nothing has changed since.") }
    for entry in objects {
      Console.write("\(ObjectClient.title(of: entry)) \(entry["result"].text)\(dryRun.note)\n")
    }
  }
}

/// A command line's one object, if it names one.
enum OneObject {
  static func parameters(
    _ words: [String], _ namespace: String
  ) throws(ToolError) -> ObjectClient.Parameters {
    guard !words.isEmpty else { return [] }
    let named = try ObjectNames.read(words)
    guard named.count == 1, let name = named[0].name else {
      throw ToolError("one object is expected", remedy: "Say KIND NAME.")
    }
    return [
      ("kind", try KindName.kind(named[0].kind)), ("name", name), ("namespace", namespace),
    ]
  }
}
