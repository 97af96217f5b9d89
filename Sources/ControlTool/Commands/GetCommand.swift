import ArgumentParser

/// `fairleadctl get`.
struct GetCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "get",
    abstract: "Show the mesh's objects, those of files and those that were applied.",
    discussion: "KIND is a kind's name, plural or short: virtualservices, vs, dr, gw, se, svc, all."
  )

  @Argument(help: ArgumentHelp("KIND [NAME…], or KIND/NAME….", valueName: "object"))
  var words: [String]

  @Option(name: [.short, .long], help: "The objects' namespace.")
  var namespace = "default"

  @Flag(name: [.customShort("A"), .customLong("all-namespaces")], help: "Those of all namespaces.")
  var isEverywhere = false

  @Option(name: [.short, .long], help: "short, name, json or yaml.")
  var output = ObjectOutput.short

  @OptionGroup var control: ControlOption

  func run() throws {
    let client = try control.objects
    var found: [JSONValue] = []
    var isOne = true
    let place: ObjectClient.Parameters = [("namespace", isEverywhere ? nil : namespace)]
    for (kind, name) in try ObjectNames.read(words) {
      let path = kind == "all" ? "objects" : "objects/" + (try KindName.kind(kind))
      if let name {
        found.append(
          try client.get(path + "/" + ControlPlaneClient.escaped(name), [("namespace", namespace)]))
      } else {
        isOne = false
        found += try client.get(path, place)["items"].items
      }
    }
    show(found, isOne: isOne && found.count == 1)
  }

  private func show(_ found: [JSONValue], isOne: Bool) {
    let list = JSONValue.object([
      JSONMember("apiVersion", .string("v1")), JSONMember("items", .array(found)),
      JSONMember("kind", .string("List")),
    ])
    switch output {
    case .json: Console.write(JSONWriter.write(isOne ? found[0] : list) + "\n")
    case .yaml: Console.write(YAMLWriter.write(isOne ? found[0] : list))
    case .name:
      for object in found { Console.write(ObjectTable.title(of: object) + "\n") }
    case .short, .wide:
      guard !found.isEmpty else {
        return Console.note(
          isEverywhere
            ? "No resources found" : "No resources found in \(namespace) namespace.")
      }
      Console.write(
        ObjectTable.text(found, showsNamespace: isEverywhere, now: Timestamp.now))
    }
  }
}
