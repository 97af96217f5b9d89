import ArgumentParser

/// `fairleadctl apply`.
struct ApplyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "apply",
    abstract: "Put objects in force: all of them, or for one mistake none.",
    discussion: """
      What is applied stays, also when the control plane starts again. An object that stands in a file of \
      the control plane's own directory is changed there.
      """)

  @OptionGroup var files: FileOptions

  @Option(name: [.short, .long], help: "The namespace of objects that name none.")
  var namespace: String?

  @Option(help: "server: say what would happen, and do nothing.")
  var dryRun = DryRun.none

  @Option(name: [.short, .long], help: "short, name, json or yaml.")
  var output = ObjectOutput.short

  @Flag(name: .customLong("wait"), help: "Return when every proxy that is affected has it.")
  var waits = false

  @Option(help: "With --wait: how long.")
  var timeout = "30s"

  @OptionGroup var control: ControlOption

  func validate() throws {
    guard !files.files.isEmpty else { throw ValidationError("say which files: -f FILE") }
  }

  func run() throws {
    let client = try control.objects
    let sent = try files.read()
    let answer = try client.change(
      "POST", "apply", [("namespace", namespace), dryRun.parameter], files: sent)
    switch output {
    case .short, .wide:
      for entry in answer["objects"].items {
        Console.write("\(ObjectClient.title(of: entry)) \(entry["result"].text)\(dryRun.note)\n")
      }
    case .name:
      for entry in answer["objects"].items { Console.write(ObjectClient.title(of: entry) + "\n") }
    case .json: Console.write(JSONWriter.write(answer) + "\n")
    case .yaml: Console.write(YAMLWriter.write(answer))
    }
    guard waits, dryRun == .none else { return }
    try LiveWait(client, seconds: try Seconds.read(timeout)).run {
      () throws(ToolError) in
      try client.post("live", [("namespace", namespace)], files: sent)
    }
  }
}

/// `fairleadctl delete`.
struct DeleteCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "delete", abstract: "Take applied objects away.")

  @Argument(help: ArgumentHelp("KIND NAME…, or KIND/NAME….", valueName: "object"))
  var words: [String] = []

  @OptionGroup var files: FileOptions

  @Option(name: [.short, .long], help: "The objects' namespace.")
  var namespace: String?

  @Option(help: "server: say what would happen, and do nothing.")
  var dryRun = DryRun.none

  @Flag(help: "What is not there is no error.")
  var ignoreNotFound = false

  @OptionGroup var control: ControlOption

  func validate() throws {
    guard words.isEmpty != files.files.isEmpty else {
      throw ValidationError("say KIND NAME, or -f FILE")
    }
  }

  func run() throws {
    let client = try control.objects
    let parameters: ObjectClient.Parameters = [
      ("namespace", namespace), ("ignoreNotFound", ignoreNotFound ? "true" : nil),
      dryRun.parameter,
    ]
    // Names become documents, so that all of them go, or none.
    let sent = files.files.isEmpty ? [try named(client)] : try files.read()
    let answer = try client.change("POST", "delete", parameters, files: sent)
    for entry in answer["objects"].items {
      Console.write(
        "\(entry["resource"].text) \"\(entry["name"].text)\" deleted\(dryRun.note)\n")
    }
  }

  private func named(_ client: ObjectClient) throws(ToolError) -> ObjectFiles.File {
    var text = ""
    for (kind, name) in try ObjectNames.read(words) {
      guard let name else {
        throw ToolError("which '\(kind)'?", remedy: "Say its name: delete \(kind) NAME.")
      }
      let known = try KindName.kind(kind)
      text += "---\nkind: \(known)\nmetadata: {name: \(JSONWriter.quoted(name))}\n"
    }
    return ObjectFiles.File(name: "command line", bytes: Array(text.utf8))
  }
}
