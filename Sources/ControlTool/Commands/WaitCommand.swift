import ArgumentParser
import CLinux

/// `fairleadctl wait`.
struct WaitCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "wait",
    abstract: "Return when what was written is with every proxy that it is for, and accepted.",
    discussion: """
      With a file, waits until its very content is in force. When the time is over, says which proxy has \
      not accepted what, and why.
      """)

  enum Condition: String, ExpressibleByArgument, CaseIterable {
    case live
    /// istioctl's word.
    case distribution
  }

  @Argument(help: ArgumentHelp("KIND NAME, or KIND/NAME.", valueName: "object"))
  var words: [String] = []

  @Option(name: .customLong("for"), help: "live, which is also called distribution.")
  var condition = Condition.live

  @OptionGroup var files: FileOptions

  @Option(name: [.short, .long], help: "The object's namespace.")
  var namespace: String?

  @Option(help: "How long: 30s, 2m, 1h.")
  var timeout = "30s"

  @OptionGroup var control: ControlOption

  func validate() throws {
    guard words.isEmpty != files.files.isEmpty else {
      throw ValidationError("say KIND NAME, or -f FILE")
    }
  }

  func run() throws {
    let client = try control.objects
    let wait = LiveWait(client, seconds: try Seconds.read(timeout))
    if words.isEmpty {
      let sent = try files.read()
      try wait.run { () throws(ToolError) in
        try client.post("live", [("namespace", namespace)], files: sent)
      }
    } else {
      let object = try OneObject.parameters(words, namespace ?? "default")
      try wait.run { () throws(ToolError) in try client.get("live", object) }
    }
  }
}

/// Asks again and again until something is live.
struct LiveWait {
  private let client: ObjectClient
  private let seconds: Int
  /// How long to wait between questions: little at first, since most changes are live at once.
  private static let milliseconds = 20...500

  init(_ client: ObjectClient, seconds: Int) {
    self.client = client
    self.seconds = seconds
  }

  func run(_ ask: () throws(ToolError) -> JSONValue) throws(ToolError) {
    let deadline = ContinuousClock.now + .seconds(seconds)
    var pause = Self.milliseconds.lowerBound
    while true {
      let answer = try ask()
      let count = answer["connected"].integerValue ?? 0
      if answer["live"].boolValue ?? false {
        return Console.write(
          count == 0
            ? "live: no proxy is connected\n"
            : "live: \(count == 1 ? "the proxy" : "all \(count) proxies") that "
              + "\(count == 1 ? "is" : "are") connected\n")
      }
      guard ContinuousClock.now < deadline else {
        throw ToolError(
          "not live after \(seconds) seconds: " + Self.reasons(answer).joined(separator: "\n  "))
      }
      usleep(UInt32(pause) * 1000)
      pause = min(pause * 2, Self.milliseconds.upperBound)
    }
  }

  /// Who has not got what.
  static func reasons(_ answer: JSONValue) -> [String] {
    let waiting = answer["waiting"].items
    let count = answer["connected"].integerValue ?? 0
    let said = waiting.flatMap { entry -> [String] in
      let parts = entry["proxy"].text.split(separator: "~", omittingEmptySubsequences: false)
      let proxy = parts.count > 2 ? String(parts[2]) : entry["proxy"].text
      return entry["resources"].items.map { resource in
        let name = resource["name"].text.isEmpty ? "" : " '\(resource["name"].text)'"
        let reason = resource["reason"].text
        return "\(proxy): \(resource["type"].text)\(name) "
          + words(for: resource["state"].text)
          + (reason.isEmpty ? "" : ": \(Refusal.short(reason))")
      }
    }
    let sum = waiting.isEmpty ? [] : ["\(waiting.count) of \(count) proxies have not accepted it"]
    return answer["reasons"].texts + sum + said
  }

  private static func words(for state: String) -> String {
    switch state {
    case "unasked": "has not been asked for"
    case "unsent": "has not been sent"
    case "unanswered": "was sent and is not acknowledged"
    case "refused": "was refused"
    default: state
    }
  }
}
