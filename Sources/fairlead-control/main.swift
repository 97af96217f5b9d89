import ArgumentParser
import CLinux
import Engine
import MeshModel
import MeshServer
import Telemetry

/// The command line.
struct FairleadControl: ParsableCommand {
  static let version = "0.1.0"

  enum Mode: String, ExpressibleByArgument {
    case serve
    case validate
    case token
  }

  enum ProtocolDetection: String, ExpressibleByArgument {
    case tcp
    case auto
  }

  enum HTTPWrites: String, ExpressibleByArgument {
    case none
    case local
    case any
  }

  static let configuration = CommandConfiguration(
    commandName: "fairlead-control",
    abstract: "A control plane: Istio's and Kubernetes' resources in, xDS out.",
    version: "fairlead-control  version: \(version)")

  @Option(
    help: """
      Directory of YAML files with Kubernetes' and Istio's resources, which is followed; or one such file.
      """)
  var configDir: String?

  @Option(
    name: [.customShort("c"), .customLong("config-path")],
    help: """
      Instead of a mesh: a file with 'resources:', a list of Envoy's listeners, routes, clusters and \
      endpoints, which everyone is served.
      """)
  var configPath: String?

  @Option(help: "Where to serve discovery over gRPC, without TLS: an IP address and a port.")
  var grpcAddr = "127.0.0.1:15010"

  @Option(
    help: """
      Where to answer people and their tools over HTTP; 127.0.0.1:15014 for a mesh, nowhere for a file \
      of resources.
      """)
  var httpAddr: String?

  @Option(
    help: """
      Who may change the mesh over HTTP: local, programs of this machine; none; or any, which whoever \
      reaches --http-addr is. Nobody is asked who they are.
      """)
  var httpWrites = HTTPWrites.local

  @Option(
    help: """
      Where objects are kept that come over HTTP; 'applied' in --config-dir by default. It is made when \
      the first one comes.
      """)
  var dataDir: String?

  @Option(help: "How many changes over HTTP are remembered, to be shown and rolled back.")
  var historyLimit = 500

  @Option(
    help: """
      Seconds for which a workload that registered itself (AUTO_REGISTER_GROUP) stays when its proxy is \
      gone.
      """)
  var registrationGrace: UInt64 = 10

  @Option(help: "The mesh's domain: services are <name>.<namespace>.svc.<domain>.")
  var domain = "cluster.local"

  @Option(
    help: "Milliseconds without a change of files after which changes are taken over together.")
  var debounceAfter: UInt64 = 50

  @Option(help: "Milliseconds after which changes are taken over, even if there are more and more.")
  var debounceMax: UInt64 = 1000

  @Option(
    help: """
      What is spoken on a port whose name says no protocol: tcp, or auto to find out, as Istio does.
      """)
  var protocolDetection = ProtocolDetection.tcp

  @Option(
    help: "serve; or validate: check the file and exit; or token: make a join token, and print it.")
  var mode = Mode.serve

  @Option(name: [.customShort("l"), .customLong("log-level")], help: "trace to off.")
  var logLevel = "info"

  @Option(help: "Where the log goes; standard error by default.")
  var logPath: String?

  @OptionGroup(title: "Identity")
  var identity: IdentityOptions

  func validate() throws {
    guard mode == .token || (configDir == nil) != (configPath == nil) else {
      throw ValidationError("give --config-dir (a mesh) or --config-path (Envoy's resources)")
    }
    for address in [grpcAddr, httpAddr].compactMap(\.self) where Self.address(address) == nil {
      throw ValidationError(
        "'\(address)' is no address; expected one such as 127.0.0.1:15010, [::1]:15010 or :15010")
    }
    guard registrationGrace <= 86_400 else {
      throw ValidationError("--registration-grace is at most 86400 seconds")
    }
    guard (1...1_000_000).contains(historyLimit) else {
      throw ValidationError("--history-limit is a number from 1 to 1000000")
    }
    guard ProcessLogLevel(name: logLevel) != nil else {
      let names = ProcessLogLevel.allCases.map(\.name).joined(separator: ", ")
      throw ValidationError("unexpected log level '\(logLevel)'; one of \(names)")
    }
  }

  func run() throws {
    if mode == .token { return print(try identity.makeToken()) }
    try setUpLog()
    do throws(ControlPlane.StartError) {
      let path = configDir ?? configPath ?? ""
      let source: ControlPlane.Options.Source =
        configDir != nil ? .mesh(directory: path) : .resources(file: path)
      guard mode == .serve else {
        try ControlPlane.validate(source)
        print("configuration '\(path)' OK")
        return
      }
      guard let address = Self.address(grpcAddr) else { return }
      var options = ControlPlane.Options(source: source, address: address, version: Self.version)
      let http = httpAddr ?? (configDir != nil ? "127.0.0.1:15014" : nil)
      options.httpAddress = http.flatMap(Self.address)
      options.registry.domain = domain
      options.writers = .init(rawValue: httpWrites.rawValue) ?? .none
      options.dataDirectory = dataDir
      options.historyLimit = historyLimit
      options.registry.trustDomain = identity.domain
      options.registrationGraceSeconds = registrationGrace
      options.debounce.quietMilliseconds = min(debounceAfter, debounceMax)
      options.debounce.longestMilliseconds = debounceMax
      options.registry.unnamedPorts = protocolDetection == .auto ? .auto : .tcp
      let plane = ControlPlane(options)
      let server = try identity.serve(on: plane)
      if let server {
        ProcessLog.shared.info(.secret, "certificates are signed by \(server.summary)")
      }
      // The port's closures know the server by reference only.
      try withExtendedLifetime(server) { () throws(ControlPlane.StartError) in try plane.run() }
    } catch {
      for reason in error.reasons { Self.printError(reason) }
      throw ExitCode(1)
    }
  }

  /// `1.2.3.4:80`, `[::1]:80`; without an address, every one of the machine.
  static func address(_ text: String) -> SocketAddress? {
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...])
    else { return nil }
    var ip = text[..<colon]
    if ip.hasPrefix("["), ip.hasSuffix("]") { ip = ip.dropFirst().dropLast() }
    return SocketAddress(ip: ip.isEmpty ? "::" : String(ip), port: port)
  }

  private func setUpLog() throws {
    if let level = ProcessLogLevel(name: logLevel) { ProcessLog.shared.setLevel(level) }
    guard let logPath else { return }
    do throws(LogOpenError) {
      try ProcessLog.shared.open(path: logPath)
    } catch {
      throw ValidationError(error.description)
    }
  }

  private static func printError(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = unsafe bytes.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}

FairleadControl.main()
