import ArgumentParser
import MeshAnalysis

/// `fairleadctl proxy-status`.
struct ProxyStatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "proxy-status",
    abstract: "Show how far proxies have followed the control plane, and why not further.",
    discussion: """
      With a proxy, compares what the control plane sent with what the proxy runs; the exit code is 2 \
      when they differ.
      """,
    aliases: ["ps"])

  @Argument(
    help: ArgumentHelp(
      "One proxy: <pod>.<namespace> or a node's id. Without it, all are listed.",
      valueName: "proxy"))
  var proxy: String?

  @Option(name: [.short, .long], help: "The namespace of a proxy whose name has none.")
  var namespace = "default"

  @Option(
    name: [.short, .long],
    help: "1 shows the state of each kind of resources, and for how long it has been so.")
  var verbosity = 0

  @Option(help: "The admin address of the one proxy, where the control plane does not know it.")
  var admin: String?

  @OptionGroup var control: ControlOption
  @OptionGroup var table: TableOptions

  func validate() throws {
    if proxy == nil, admin != nil { throw ValidationError("--admin needs a proxy") }
  }

  func run() throws {
    if let proxy {
      try compare(try ProxyTarget(proxy, namespace: namespace))
    } else {
      try list()
    }
  }

  private func list() throws {
    let plane = try control.client
    let document = try plane.syncStatus()
    guard table.output == .short else {
      Console.write(table.output.text(document))
      return
    }
    let all = SyncStatus.all(in: document)
    if all.isEmpty { Console.note("note: no proxy is connected to \(plane.http.address)") }
    Console.write(
      SyncTable.text(
        all, istiod: "\(plane.http.address)", now: Timestamp.now, isVerbose: verbosity > 0))
    Console.write(Self.errors(plane))
  }

  /// What of the mesh is not as its authors meant it: a line each. A control plane that serves a file of
  /// Envoy's resources has none to tell of.
  private static func errors(_ plane: ControlPlaneClient) -> String {
    guard let document = try? plane.analysis() else { return "" }
    let lines = AnalysisReport(document).atLeast(.error).text(.log, isColored: false)
    return lines.isEmpty ? "" : "\n" + lines
  }

  private func compare(_ target: ProxyTarget) throws {
    switch target {
    case .node, .pod: break
    case .admin, .process:
      throw ToolError(
        "the control plane knows proxies by name, and '\(target.proxyID)' is none",
        remedy: "Say <pod>.<namespace> or a node's id, and --admin for its address.")
    }
    let plane = try control.client
    let known = try plane.admin(of: target)
    guard let address = try admin.map(Self.address) ?? known else {
      throw ToolError(
        "'\(target.proxyID)' has told no admin address, so what it runs cannot be asked",
        remedy: "Say it with --admin.")
    }
    let running = try HTTPClient(address).document("/config_dump?include_eds")
    let comparison = ConfigComparison(
      sent: try ConfigDump(try plane.configDump(of: target), origin: "the control plane's answer"),
      running: try ConfigDump(running, origin: "\(address)/config_dump"))
    Console.write(comparison.text)
    guard comparison.isSame else { throw ExitCode(2) }
  }

  private static func address(_ text: String) throws(ToolError) -> HTTPAddress {
    guard let address = HTTPAddress(text) else {
      throw ToolError("'\(text)' is no admin address", remedy: "Say 127.0.0.1:15000.")
    }
    return address
  }
}
