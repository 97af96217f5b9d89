import ArgumentParser
import CLinux
import Engine
import MeshServer
import Telemetry

/// The command line.
struct FairleadControl: ParsableCommand {
  static let version = "0.1.0"

  enum Mode: String, ExpressibleByArgument {
    case serve
    case validate
  }

  static let configuration = CommandConfiguration(
    commandName: "fairlead-control",
    abstract: "A control plane that serves Envoy v3 resources from a file over xDS.",
    version: "fairlead-control  version: \(version)")

  @Option(
    name: [.customShort("c"), .customLong("config-path")],
    help: "File with 'resources:', a list of listeners, routes, clusters and endpoints.")
  var configPath: String

  @Option(help: "Where to serve discovery over gRPC, without TLS: an IP address and a port.")
  var grpcAddr = "127.0.0.1:15010"

  @Option(help: "serve, or validate: check the file and exit.")
  var mode = Mode.serve

  @Option(name: [.customShort("l"), .customLong("log-level")], help: "trace to off.")
  var logLevel = "info"

  @Option(help: "Where the log goes; standard error by default.")
  var logPath: String?

  func validate() throws {
    guard Self.address(grpcAddr) != nil else {
      throw ValidationError(
        "'\(grpcAddr)' is no address; expected one such as 127.0.0.1:15010, [::1]:15010 or :15010")
    }
    guard ProcessLogLevel(name: logLevel) != nil else {
      let names = ProcessLogLevel.allCases.map(\.name).joined(separator: ", ")
      throw ValidationError("unexpected log level '\(logLevel)'; one of \(names)")
    }
  }

  func run() throws {
    try setUpLog()
    do throws(ControlPlane.StartError) {
      guard mode == .serve else {
        try ControlPlane.validate(configPath)
        print("configuration '\(configPath)' OK")
        return
      }
      guard let address = Self.address(grpcAddr) else { return }
      let options = ControlPlane.Options(
        configPath: configPath, address: address, version: Self.version)
      try ControlPlane(options).run()
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
