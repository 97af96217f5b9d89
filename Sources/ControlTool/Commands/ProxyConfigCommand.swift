import ArgumentParser

/// `fairleadctl proxy-config`: what a proxy runs with.
struct ProxyConfigCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "proxy-config",
    abstract: "Show what a proxy runs with: listeners, routes, clusters, endpoints, secrets.",
    subcommands: [
      ListenerCommand.self, RouteCommand.self, ClusterCommand.self, EndpointCommand.self,
      SecretCommand.self, BootstrapCommand.self, LogCommand.self, AllCommand.self,
    ],
    aliases: ["pc"])
}

/// `-o` of the commands that show tables.
struct TableOptions: ParsableArguments {
  @Option(name: [.short, .long], help: "How to write the answer: short, json or yaml.")
  var output = OutputForm.short
}

/// `pc listener`.
struct ListenerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "listener", abstract: "Show listeners, and where each filter chain leads.",
    discussion: """
      --port and --address also look into listeners that take connections for many addresses, as \
      virtualInbound does; what is shown of such a listener are the filter chains that fit.
      """,
    aliases: ["listeners", "l"])

  @OptionGroup var source: ProxySource
  @OptionGroup var table: TableOptions

  @Option(help: "Only listeners at this address, and filter chains for it.")
  var address: String?
  @Option(help: "Only listeners on this port, and filter chains for it.")
  var port: Int?
  @Option(help: "Only listeners of this type: HTTP, TCP, HTTP+TCP or UNKNOWN.")
  var type: String?
  @Option(help: "A row for every filter chain: true or false.")
  var verbose = true

  func run() throws {
    let dump = try source.open().configDump()
    let found = ListenerQuery(address: address, port: port, type: type)
      .select(dump.listeners, own: dump.nodeAddresses)
    for (name, reason) in dump.refusedListeners {
      Console.note("note: the proxy refused the last version of listener '\(name)': \(reason)")
    }
    if found.isEmpty, !dump.listeners.isEmpty {
      let ports = Set(dump.listeners.map { AddressText.port($0["address"]) }).sorted()
      Console.note(
        "note: none of \(dump.listeners.count) listeners fits; their ports are "
          + ports.map(String.init).joined(separator: ", "))
    }
    switch table.output {
    case .short: Console.write(ListenerTable.text(found, isVerbose: verbose))
    case .json, .yaml: Console.write(table.output.text(resources: ListenerTable.sorted(found)))
    }
  }
}

/// `pc route`.
struct RouteCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "route", abstract: "Show routes, those within listeners too.",
    aliases: ["routes", "r"])

  @OptionGroup var source: ProxySource
  @OptionGroup var table: TableOptions

  @Option(help: "Only the route configuration of this name.")
  var name: String?
  @Option(help: "A row for every route: true or false.")
  var verbose = true

  func run() throws {
    let all = try source.open().configDump().routes
    let found = RouteTable.select(all, name: name)
    if found.isEmpty, !all.isEmpty {
      let names = RouteTable.sorted(all).map { $0["name"].text }
      Console.note("note: no routes '\(name ?? "")'; there are " + names.joined(separator: ", "))
    }
    switch table.output {
    case .short: Console.write(RouteTable.text(found, isVerbose: verbose))
    case .json, .yaml: Console.write(table.output.text(resources: RouteTable.sorted(found)))
    }
  }
}

/// `pc cluster`.
struct ClusterCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cluster", abstract: "Show clusters.", aliases: ["clusters", "c"])

  enum Direction: String, ExpressibleByArgument, CaseIterable {
    case inbound
    case outbound
  }

  @OptionGroup var source: ProxySource
  @OptionGroup var table: TableOptions

  @Option(help: "Only clusters of services in whose name, or cluster's name, this stands.")
  var fqdn: String?
  @Option(help: "Only clusters of this port.")
  var port: Int?
  @Option(help: "Only clusters of this subset.")
  var subset: String?
  @Option(help: "Only clusters of this direction: inbound or outbound.")
  var direction: Direction?

  func run() throws {
    let all = try source.open().configDump().clusters
    let query = ClusterQuery(
      fqdn: fqdn, port: port, subset: subset, direction: direction?.rawValue)
    let found = all.filter(query.fits)
    if found.isEmpty, !all.isEmpty {
      Console.note("note: none of \(all.count) clusters fits; without filters all are shown")
    }
    switch table.output {
    case .short: Console.write(ClusterTable.text(found))
    case .json, .yaml: Console.write(table.output.text(resources: ClusterTable.sorted(found)))
    }
  }
}

/// `pc endpoint`.
struct EndpointCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "endpoint", abstract: "Show endpoints, and what the proxy thinks of each.",
    aliases: ["endpoints", "ep"])

  @OptionGroup var source: ProxySource
  @OptionGroup var table: TableOptions

  @Option(help: "Only endpoints at this address.")
  var address: String?
  @Option(help: "Only endpoints on this port.")
  var port: Int?
  @Option(help: "Only endpoints of this cluster; its whole name.")
  var cluster: String?
  @Option(help: "Only endpoints of this status: healthy, unhealthy, draining, degraded.")
  var status: String?

  func run() throws {
    let open = try source.open()
    let query = EndpointQuery(address: address, port: port, cluster: cluster, status: status)
    let found = try open.endpoints(query)
    if found.rows.isEmpty {
      let all = try open.endpoints(EndpointQuery()).rows.count
      if all > 0 { Console.note("note: none of \(all) endpoints fits") }
    }
    switch table.output {
    case .short: Console.write(EndpointTable.text(found.rows))
    case .json, .yaml: Console.write(table.output.text(resources: found.documents))
    }
  }
}
