import ArgumentParser

/// `fairleadctl version`.
struct VersionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "version",
    abstract: "Show this tool's version, the control plane's and those of connected proxies.")

  @OptionGroup var control: ControlOption
  @OptionGroup var table: TableOptions

  @Option(help: "Ask the control plane too: true or false.")
  var remote = true

  func run() throws {
    var members = [JSONMember("clientVersion", .string(FairleadCtl.version))]
    if remote {
      let plane = try control.client
      do throws(ToolError) {
        members += try Self.remote(plane)
      } catch {
        // Somebody without a mesh may ask, too: this is no failure.
        Console.note("note: \(error.problem)")
      }
    }
    guard table.output == .short else {
      Console.write(table.output.text(.object(members)))
      return
    }
    Console.write(Self.text(members))
  }

  /// The control plane's version, where it tells one, and each of its proxies' with their number.
  private static func remote(_ plane: ControlPlaneClient) throws(ToolError) -> [JSONMember] {
    var members: [JSONMember] = []
    let all = SyncStatus.all(in: try plane.syncStatus())
    if let answer = try? plane.http.get("/version"), answer.status == 200 {
      members.append(JSONMember("meshVersion", .string(version(of: answer))))
    }
    var counts: [String: Int] = [:]
    for each in all { counts[each.program, default: 0] += 1 }
    let proxies = counts.sorted { $0.key < $1.key }.map {
      JSONValue.object([
        JSONMember("version", .string($0.key)), JSONMember("proxies", .number("\($0.value)")),
      ])
    }
    return members + [JSONMember("dataPlaneVersion", .array(proxies))]
  }

  /// A line of text, or a document with the version in it.
  private static func version(of answer: HTTPAnswer) -> String {
    let document = try? JSONParser.parse(answer.body)
    return document?["version"].stringValue ?? document?.stringValue
      ?? answer.text.split(whereSeparator: \.isNewline).first.map(String.init) ?? ""
  }

  private static func text(_ members: [JSONMember]) -> String {
    let names = [
      "clientVersion": "client version", "meshVersion": "control plane version",
      "dataPlaneVersion": "data plane version",
    ]
    return members.map { member in
      let value =
        member.value.stringValue
        ?? member.value.items.map {
          let count = $0["proxies"].integerValue ?? 0
          return "\($0["version"].text) (\(count) \(count == 1 ? "proxy" : "proxies"))"
        }.joined(separator: ", ")
      return "\(names[member.name] ?? member.name): \(value.isEmpty ? "none" : value)\n"
    }.joined()
  }
}

/// `fairleadctl completion`.
struct CompletionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "completion", abstract: "Write a shell's completion script.",
    discussion: """
      bash: source <(fairleadctl completion bash)
      zsh:  fairleadctl completion zsh > "${fpath[1]}/_fairleadctl"
      fish: fairleadctl completion fish > ~/.config/fish/completions/fairleadctl.fish
      """)

  enum Shell: String, ExpressibleByArgument, CaseIterable {
    case bash
    case zsh
    case fish
  }

  @Argument(help: "bash, zsh or fish.")
  var shell: Shell

  func run() throws {
    let kind: CompletionShell =
      switch shell {
      case .bash: .bash
      case .zsh: .zsh
      case .fish: .fish
      }
    Console.write(FairleadCtl.completionScript(for: kind) + "\n")
  }
}
