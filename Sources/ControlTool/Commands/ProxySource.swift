import ArgumentParser

/// Which proxy, or which file, a command is about.
struct ProxySource: ParsableArguments {
  @Argument(
    help: ArgumentHelp(
      "The proxy: <pod>.<namespace> or a node's id, an admin address (127.0.0.1:15000), or pid:N.",
      valueName: "proxy"))
  var proxy: String?

  @Option(
    name: [.short, .long], help: "A dump that was saved before, instead of a proxy; - is stdin.",
    completion: .file())
  var file: String?

  @Option(name: [.short, .long], help: "The namespace of a proxy whose name has none.")
  var namespace = "default"

  @Option(help: "The admin port of a proxy that has not told the control plane where it is.")
  var proxyAdminPort: Int?

  @OptionGroup var control: ControlOption

  func validate() throws {
    if proxy == nil, file == nil {
      throw ValidationError(
        "say which proxy: <pod>.<namespace>, an admin address such as 127.0.0.1:15000, pid:N, "
          + "or --file DUMP")
    }
    if proxy != nil, file != nil { throw ValidationError("say a proxy or --file, not both") }
    if let port = proxyAdminPort, !(1...65_535).contains(port) {
      throw ValidationError("\(port) is no port")
    }
  }

  /// Opens what the command line names.
  func open() throws(ToolError) -> OpenSource {
    if let file {
      let bytes = try FileText.read(file)
      return .file(try HTTPClient.parse(bytes, of: "'\(file)'"), name: "'\(file)'")
    }
    let target = try ProxyTarget(proxy ?? "", namespace: namespace)
    switch target {
    case .admin(let address): return .proxy(HTTPClient(address))
    case .process(let process): return .proxy(HTTPClient(try ProcessLookup.admin(of: process)))
    case .node, .pod: return try find(target)
    }
  }

  private func find(_ target: ProxyTarget) throws(ToolError) -> OpenSource {
    let plane = try control.client
    if let admin = try plane.admin(of: target) { return .proxy(HTTPClient(admin)) }
    if let port = proxyAdminPort.flatMap(UInt16.init(exactly:)),
      let host = try plane.connections().last(where: { target.fits(nodeID: $0.nodeID) })?.address
    {
      return .proxy(HTTPClient(HTTPAddress(host: host, port: port)))
    }
    Console.note(
      "note: \(target.proxyID) has told no admin address; this is what the control plane sent it")
    return .control(plane, target)
  }
}

/// Where answers come from.
enum OpenSource {
  case proxy(HTTPClient)
  case control(ControlPlaneClient, ProxyTarget)
  case file(JSONValue, name: String)

  /// The proxy's configuration.
  func configDump(withEndpoints: Bool = false) throws(ToolError) -> ConfigDump {
    switch self {
    case .proxy(let client):
      let target = withEndpoints ? "/config_dump?include_eds" : "/config_dump"
      return try ConfigDump(try client.document(target), origin: "\(client.address)\(target)")
    case .control(let plane, let target):
      return try ConfigDump(
        try plane.configDump(of: target), origin: "the control plane's answer")
    case .file(let document, let name):
      return try ConfigDump(document, origin: name)
    }
  }

  /// The proxy itself, for what no dump has.
  func live(for what: String) throws(ToolError) -> HTTPClient {
    guard case .proxy(let client) = self else {
      throw ToolError(
        "\(what) can only be asked of a running proxy's admin port",
        remedy: "Say its address, such as 127.0.0.1:15000, or pid:N.")
    }
    return client
  }

  /// The endpoints that fit.
  func endpoints(_ query: EndpointQuery) throws(ToolError) -> EndpointSelection {
    if case .proxy(let client) = self {
      return EndpointSelection(statuses: try client.document("/clusters?format=json"), query)
    }
    if case .file(let document, _) = self, !document["cluster_statuses"].isNull {
      return EndpointSelection(statuses: document, query)
    }
    guard let assignments = try configDump(withEndpoints: true).assignments else {
      throw ToolError(
        "the dump has no endpoints",
        remedy: "Take it with /config_dump?include_eds, or take /clusters?format=json.")
    }
    return EndpointSelection(assignments: assignments, query)
  }
}
