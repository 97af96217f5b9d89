import CLinux
import MeshTranslation

/// Makes the processes of a mesh: what each is started with.
struct LocalProcesses {
  private let options: LocalMesh.Options
  private let runtime: RuntimeDirectory
  private let environment: [String]
  private let proxy: String
  private let control: String

  init(
    _ options: LocalMesh.Options, _ runtime: RuntimeDirectory, mark: String
  ) throws(ToolError) {
    self.options = options
    self.runtime = runtime
    environment = Self.inherited + ["\(RuntimeDirectory.variable)=\(mark)"]
    let own = FileText.target(of: "/proc/self/exe").map { FilePath.directory(of: $0) } ?? "."
    let folder = options.binaries ?? own
    proxy = try Self.program("fairlead", in: folder)
    control = try Self.program("fairlead-control", in: folder)
  }

  private static func program(_ name: String, in folder: String) throws(ToolError) -> String {
    guard let path = FilePath.absolute(folder + "/" + name) else {
      throw ToolError(
        "there is no '\(name)' in \(folder)", remedy: "scripts/build makes it; or say --binaries.")
    }
    return path
  }

  private static var inherited: [String] {
    let all = (try? FileText.read("/proc/self/environ")) ?? []
    return all.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
      .filter { !$0.hasPrefix(RuntimeDirectory.variable + "=") }
  }

  var controlPlane: LocalProcess {
    LocalProcess(
      name: "control plane",
      words: [
        control, "--config-dir", runtime.config, "--grpc-addr", options.discovery.description,
        "--http-addr", options.control.description, "--ca-dir", runtime.authority,
        "--secure-grpc-addr", options.identity.description,
      ], environment: environment, directory: "/", log: runtime.logs + "/control-plane.log",
      check: .page(options.control, "/debug/connections"))
  }

  /// What proxies show when they ask for their first certificate.
  func tokens(for workloads: [LocalWorkload]) -> LocalTokens {
    LocalTokens(control: control, environment: environment, runtime: runtime, workloads: workloads)
  }

  /// The programs of a workload, and its proxy; writes what the proxy starts with.
  func processes(of workload: LocalWorkload) throws(ToolError) -> [LocalProcess] {
    let addresses = workload.addresses
    var all = workload.programs.map { program in
      let command = workload.command(of: program, inherited: environment)
      let name = "\(workload.fullName) \(program.name)"
      return LocalProcess(
        name: name, words: command.words, environment: command.environment,
        directory: workload.directory,
        log: "\(runtime.logs)/\(workload.fullName).\(program.name).log",
        check: program.port.flatMap { UInt16(exactly: $0) }
          .map { .listening(address: addresses.application, port: $0) } ?? .running)
    }
    let file = "\(runtime.bootstraps)/\(workload.fullName).json"
    let text = JSONWriter.write(LocalDocuments.bootstrap(workload, control: options.discovery))
    try FilePath.write(Array(text.utf8), to: file)
    all.append(
      LocalProcess(
        name: "\(workload.fullName) proxy",
        words: [
          proxy, "-c", file, "--ca-address", options.identity.description,
          "--ca-root-path", runtime.authority + "/root-cert.pem", "--ca-token-path",
          LocalTokens.file(of: workload, in: runtime), "--cert-dir",
          "\(runtime.certificates)/\(workload.fullName)",
        ] + Self.concurrency(workload.proxy),
        environment: Self.environment(environment, with: workload.proxy), directory: "/",
        log: "\(runtime.logs)/\(workload.fullName).proxy.log",
        check: .page(
          HTTPAddress(host: addresses.proxy, port: LocalWorkload.adminPort), "/ready")))
    return all
  }

  /// One thread where nobody says otherwise: a machine runs many proxies.
  static func concurrency(_ start: ProxyStart) -> [String] {
    let count = start.concurrency ?? 1
    // Without the option there is one for each core.
    return count > 0 ? ["--concurrency", String(count)] : []
  }

  /// What is inherited, and what the proxy is to have besides or instead.
  static func environment(_ inherited: [String], with start: ProxyStart) -> [String] {
    let kept = inherited.filter { line in
      line.firstIndex(of: "=").map { start.environment[String(line[..<$0])] == nil } ?? false
    }
    return kept + start.environment.map { "\($0)=\($1)" }.sorted()
  }
}
