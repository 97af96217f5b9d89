import ArgumentParser
import CLinux
import DataPlane
import Resources
import Telemetry

/// The command line, with Envoy's flags.
struct Fairlead: ParsableCommand {
  static let version = "0.1.0"

  /// Envoy's form: revision (0: not from a clone), version, kind of sources, build, TLS library.
  static var versionText: String {
    #if DEBUG
      let build = "DEBUG"
    #else
      let build = "RELEASE"
    #endif
    return "0/\(version)/Distribution/\(build)/\(LinkedLibraries.tls)"
  }

  enum Mode: String, ExpressibleByArgument {
    case serve
    case validate
  }

  /// How a drain spreads over its time.
  enum DrainStrategy: String, ExpressibleByArgument {
    case immediate
  }

  static let configuration = CommandConfiguration(
    commandName: "fairlead",
    abstract: "A sidecar proxy that reads Envoy v3 configuration.",
    version: "fairlead  version: \(versionText)\nlibraries: \(LinkedLibraries.all)")

  @Option(
    name: [.customShort("c"), .customLong("config-path")], help: "Path to the configuration.")
  var configPath: String?

  @Option(help: "Configuration in YAML, laid over the file's.")
  var configYaml: String?

  @Option(help: "serve, or validate: check the configuration and exit.")
  var mode = Mode.serve

  @Option(name: [.customShort("l"), .customLong("log-level")], help: "trace to off.")
  var logLevel = "info"

  @Option(help: "Levels of single components: upstream:debug,connection:trace.")
  var componentLogLevel: String?

  @Option(help: "Where the proxy's own log goes; standard error by default.")
  var logPath: String?

  @Option(help: "Worker threads; one per core by default.")
  var concurrency: Int?

  @Option(help: "The node's id.")
  var serviceNode: String?

  @Option(help: "The node's cluster.")
  var serviceCluster: String?

  @Option(help: "The node's zone.")
  var serviceZone: String?

  @Option(help: "Seconds a drain may last.")
  var drainTimeS = 600

  @Option(help: "immediate: every answer of a drain asks the client to go. There is no gradual.")
  var drainStrategy = DrainStrategy.immediate

  @Option(
    help: """
      Directory, of this proxy alone, that keeps what the control plane (ADS) has sent, but for secrets: \
      from there it serves when it starts and the control plane is not there.
      """)
  var xdsCache: String?

  @Flag(help: "For command lines written for Envoy: there is no hot restart.")
  var disableHotRestart = false

  @OptionGroup(title: "Own certificate")
  var ownCertificate: OwnCertificateOptions

  func run() throws {
    try setUpLog()
    let own = ownCertificate.options
    if mode == .serve, let own { try obtain(own) }
    let loaded = BootstrapLoader.load(
      file: configPath, yaml: configYaml,
      overrides: NodeOverrides(
        serviceNode: serviceNode, serviceCluster: serviceCluster, serviceZone: serviceZone))
    let config = ServerConfig.compile(
      loaded, registry: builtInFilters(), opensLogs: mode == .serve)
    for line in loaded.diagnostics.rendered { printError(line) }
    guard let config else { throw ExitCode(1) }
    guard mode == .serve else {
      print("configuration '\(configPath ?? "--config-yaml")' OK")
      return
    }
    var options = ServerOptions()
    options.concurrency = concurrency
    options.drainSeconds = drainTimeS
    options.version = Self.versionText
    options.configPath = configPath ?? ""
    options.configYAML = configYaml ?? ""
    options.logLevel = logLevel
    options.componentLogLevel = componentLogLevel ?? ""
    options.logPath = logPath ?? ""
    options.serviceNode = serviceNode ?? ""
    options.serviceCluster = serviceCluster ?? ""
    options.serviceZone = serviceZone ?? ""
    options.xdsCache = xdsCache ?? ""
    options.ownCertificate = own
    throw ExitCode(serve(config, options))
  }

  private func obtain(_ own: OwnCertificate.Options) throws {
    do throws(FileError) {
      try OwnCertificate.obtain(own)
    } catch {
      printError("error: \(error.message)")
      throw ExitCode(1)
    }
  }

  /// Runs the proxy until its end; the exit status.
  private func serve(_ config: ServerConfig, _ options: ServerOptions) -> Int32 {
    do throws(Server.StartError) {
      return try Server(config, options: options).run()
    } catch {
      printError("error: \(error.description)")
      return 1
    }
  }

  private func setUpLog() throws {
    guard let level = ProcessLogLevel(name: logLevel) else {
      let names = ProcessLogLevel.allCases.map(\.name).joined(separator: ", ")
      throw ValidationError("unexpected log level '\(logLevel)'; one of \(names)")
    }
    ProcessLog.shared.setLevel(level)
    if let componentLogLevel, let problem = ProcessLog.shared.setLevels(fromList: componentLogLevel)
    {
      throw ValidationError(problem)
    }
    guard let logPath else { return }
    do throws(LogOpenError) {
      try ProcessLog.shared.open(path: logPath)
    } catch {
      throw ValidationError(error.description)
    }
  }

  private func printError(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    _ = unsafe bytes.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}
