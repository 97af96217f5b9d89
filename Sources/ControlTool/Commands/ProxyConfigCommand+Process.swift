import ArgumentParser

/// `pc secret`.
struct SecretCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "secret", abstract: "Show certificates, and until when they hold.",
    aliases: ["secrets", "s"])

  @OptionGroup var source: ProxySource
  @OptionGroup var table: TableOptions

  @Flag(name: [.short, .long], help: "Also show the trust domain of each.")
  var verbose = false

  func run() throws {
    let open = try source.open()
    let secrets = try open.configDump().secrets
    guard table.output == .short else {
      Console.write(table.output.text(resources: secrets.map(\.secret)))
      return
    }
    // Certificates that stand in files are in no dump.
    if secrets.isEmpty, case .proxy(let client) = open {
      let certificates = try client.document("/certs")
      if !certificates["certificates"].items.isEmpty {
        Console.note("note: no secret was sent to the proxy; these are its configuration's own")
        Console.write(SecretTable.text(certificates: certificates, now: Timestamp.now))
        return
      }
    }
    Console.write(SecretTable.text(secrets, now: Timestamp.now, isVerbose: verbose))
  }
}

/// `pc bootstrap`.
struct BootstrapCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bootstrap", abstract: "Show what the proxy started with.", aliases: ["b"])

  @OptionGroup var source: ProxySource

  @Option(name: [.short, .long], help: "How to write the answer: json, yaml or short.")
  var output = OutputForm.json

  func run() throws {
    let open = try source.open()
    let bootstrap = try open.configDump().bootstrap
    guard !bootstrap.isNull else {
      throw ToolError(
        "there is no bootstrap in it", remedy: "Ask the proxy itself: only it knows its bootstrap.")
    }
    guard output == .short else {
      Console.write(
        output.text(FieldNames.camelCased(.object([JSONMember("bootstrap", bootstrap)]))))
      return
    }
    var info = JSONValue.null
    if case .proxy(let client) = open { info = try client.document("/server_info") }
    Console.write(BootstrapSummary.text(bootstrap, serverInfo: info))
  }
}

/// `pc log`.
struct LogCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "log", abstract: "Show the levels of a proxy's own log, or change them.",
    aliases: ["o"])

  @OptionGroup var source: ProxySource

  @Option(help: "Levels to set: debug, or http:debug,pool:trace.")
  var level: String?
  @Flag(name: [.short, .long], help: "Set all loggers to warning.")
  var reset = false

  func validate() throws {
    if level != nil, reset { throw ValidationError("say --level or --reset, not both") }
  }

  func run() throws {
    let target = reset ? LogLevels.reset : try level.map { try LogLevels($0).target } ?? "/logging"
    let client = try source.open().live(for: "the log's levels")
    let answer = try client.post(target)
    guard answer.status == 200 else {
      let reason = answer.text.split(whereSeparator: \.isNewline).first ?? ""
      throw ToolError(
        "the proxy answers \(answer.status): \(reason)",
        remedy: "Without --level, its loggers are shown.")
    }
    Console.write(answer.text)
  }
}

/// `pc all`.
struct AllCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "all", abstract: "Show clusters, listeners, routes, secrets and endpoints.",
    aliases: ["a"])

  @OptionGroup var source: ProxySource
  @OptionGroup var table: TableOptions

  @Option(help: "A row for every filter chain and every route: true or false.")
  var verbose = true

  func run() throws {
    let open = try source.open()
    let dump = try open.configDump(withEndpoints: true)
    guard table.output == .short else {
      Console.write(table.output.text(dump.document))
      return
    }
    var parts = [
      ClusterTable.text(dump.clusters), ListenerTable.text(dump.listeners, isVerbose: verbose),
      RouteTable.text(dump.routes, isVerbose: verbose),
      SecretTable.text(dump.secrets, now: Timestamp.now, isVerbose: false),
    ]
    // A dump that was taken without endpoints still has all the rest.
    if let endpoints = try? open.endpoints(EndpointQuery()) {
      parts.append(EndpointTable.text(endpoints.rows))
    }
    Console.write(parts.joined(separator: "\n"))
  }
}
