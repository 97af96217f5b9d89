import AdminHTTP
import CLinux
import Engine
import GRPC
import MeshAnalysis
import MeshModel
import Resources
import Telemetry

/// The control plane as a process: what it serves, to whom, and signals.
package final class ControlPlane {
  /// What the command line says.
  package struct Options {
    /// What is served: objects of Istio and Kubernetes in a directory, or Envoy's resources in a file.
    package enum Source {
      case mesh(directory: String)
      case resources(file: String)
    }

    /// Who may change the mesh over HTTP. Nobody is asked who they are, so by default only programs of
    /// this machine may.
    package enum Writers: String, Sendable { case none, local, any }

    package var source: Source
    package var address: SocketAddress
    /// Where people and their tools ask; nil for nowhere.
    package var httpAddress: SocketAddress?
    package var version: String
    package var registry = RegistryOptions()
    package var writers = Writers.local
    /// Where objects are kept that come over HTTP; nil for `applied` in the mesh's directory.
    package var dataDirectory: String?
    /// How many changes are remembered.
    package var historyLimit = 500
    /// How long a workload that registered itself stays when its proxy is gone (Istio: 10 s).
    package var registrationGraceSeconds: UInt64 = 10
    /// How changes of files that come together are taken as one.
    package var debounce = FileWatch.Debounce()

    package init(source: Source, address: SocketAddress, version: String) {
      self.source = source
      self.address = address
      self.version = version
    }
  }

  /// Why the process does not start; a line each.
  package struct StartError: Error {
    package let reasons: [String]

    package init(reasons: [String]) { self.reasons = reasons }
  }

  let options: Options
  /// What everything here runs on, and whoever serves on the secured port.
  package let loop = EventLoop()
  /// Set before `run`; nil: there is none.
  package var secured: SecuredPort?
  let server: MeshServer
  private let configuration: ConfigurationSource
  private var watch: FileWatch?
  /// Looks again for what could not be read: nobody tells when a directory is back.
  private let retry: LoopTimer
  private static let retryMilliseconds: UInt64 = 1000
  private var pages: ControlPages?
  /// Nil where there is no mesh to change.
  private let editor: MeshEditor?
  private let registrar: Registrar?
  /// Of a mesh.
  private var analyst: MeshAnalyst?

  package init(_ options: Options) {
    self.options = options
    retry = LoopTimer(on: loop)
    switch options.source {
    case .mesh(let directory):
      let folder = MeshFolder(
        directory, dataDirectory: options.dataDirectory, options: options.registry)
      editor = MeshEditor(folder, historyLimit: options.historyLimit)
      let registrar = Registrar(
        folder, on: loop, graceMilliseconds: options.registrationGraceSeconds * 1000)
      folder.mesh?.registrar = registrar
      self.registrar = registrar
      configuration = folder
    case .resources(let file):
      editor = nil
      registrar = nil
      configuration = ResourceFileWatch(file)
    }
    server = MeshServer(RPCRuntime(loop: loop), source: configuration.source)
    editor?.reload = { [unowned self] in reload() }
    registrar?.reload = { [unowned self] in reload() }
  }

  /// Whether what is to be served could be; why not.
  package static func validate(_ source: Options.Source) throws(StartError) {
    switch source {
    case .mesh(let directory): try MeshFolder(directory, options: .init()).validate()
    case .resources(let file): try ResourceFileWatch(file).validate()
    }
  }

  /// Serves until a signal ends it.
  package func run() throws(StartError) {
    ProcessLog.shared.info(
      .main, "fairlead-control \(options.version) (pid \(getpid())) is starting")
    ControlSignals.install(on: loop.mailbox)
    watch = FileWatch(on: loop, debounce: options.debounce) { [unowned self] in reload() }
    try editor?.open()
    makeAnalyst()
    try configuration.start()
    registrar?.start()
    watchAll()
    let address: SocketAddress
    do throws(RPCServer.ListenError) {
      address = try server.listen(on: options.address)
    } catch {
      throw StartError(reasons: ["error: \(error.description)"])
    }
    try listenSecurely()
    try openPages()
    ProcessLog.shared.info(
      .main, "serving \(configuration.summary) over xDS on \(address.description)")
    // SAFETY: this object lives as long as its loop runs, which is in this call.
    unsafe loop.atBatchEnd(context: Unmanaged.passUnretained(self).toOpaque()) { raw, _ in
      unsafe Unmanaged<ControlPlane>.fromOpaque(raw).takeUnretainedValue().handleSignals()
    }
    loop.run()
    pages?.close()
    server.close()
    // What closing deferred.
    loop.turn(waitAtMost: 0)
    ProcessLog.shared.info(.main, "exiting")
  }

  private func makeAnalyst() {
    guard let folder = configuration as? MeshFolder, let mesh = folder.mesh else { return }
    let analyst = MeshAnalyst(on: loop) { [unowned self] in
      var input = AnalysisInput(mesh.store, options: mesh.options, snapshot: mesh.snapshot)
      for node in server.clients.compactMap(\.node) {
        input.proxies.append(node)
        for omission in mesh.omissions(for: node) {
          input.unsupported.insert(.init(client: node.client.rawValue, omission))
        }
      }
      return MeshAnalyst.Work(input: input, files: folder.files)
    }
    folder.contentChanged = { [weak analyst] in analyst?.changed() }
    mesh.clientsChanged = { [weak analyst] in analyst?.changed() }
    analyst.changed()
    self.analyst = analyst
  }

  private func listenSecurely() throws(StartError) {
    guard let secured else { return }
    do throws(RPCServer.ListenError) {
      let address = try server.listen(on: secured)
      ProcessLog.shared.info(
        .main, "serving discovery and certificates over TLS on \(address.description)")
    } catch {
      throw StartError(reasons: ["error: \(error.description)"])
    }
  }

  private func openPages() throws(StartError) {
    guard let wanted = options.httpAddress else { return }
    do throws(AdminListener.ListenError) {
      pages = try ControlPages(
        on: wanted, loop: loop, server: server, mesh: configuration.mesh,
        analyst: analyst, version: options.version, objects: objectPages)
    } catch {
      throw StartError(reasons: ["error: \(error.description)"])
    }
    // Said before the other address, which is what whoever waits for the start looks for.
    ProcessLog.shared.info(
      .main, "answering over HTTP on \(pages?.address.description ?? "")")
  }

  private var objectPages: ObjectPages? {
    guard let editor, let mesh = configuration.mesh else { return nil }
    return ObjectPages(
      editor, mesh: mesh, server: server, analyst: analyst, writers: options.writers)
  }

  private func watchAll() {
    guard let watch else {
      return ProcessLog.shared.warning(.config, "cannot watch files: changes go unnoticed")
    }
    for directory in configuration.directories where !watch.add(directory: directory) {
      ProcessLog.shared.warning(
        .config, "cannot watch '\(directory)': changes there go unnoticed")
    }
  }

  private func reload() {
    let started = fl_monotonic_ns()
    if server.isSettled { configuration.mesh?.forgetOlder() }
    let hasChanged = configuration.reload()
    if configuration.isIncomplete {
      retry.set(milliseconds: Self.retryMilliseconds) { [unowned self] in reload() }
    }
    guard hasChanged else { return watchAll() }
    server.metrics.triggers["config", default: 0] += 1
    server.metrics.contextInit.observe(Double(fl_monotonic_ns() - started) / 1e9)
    watchAll()
    server.publish(since: started)
    // Groups may have come, changed or gone.
    registrar?.refresh()
  }

  private func handleSignals() {
    if ControlSignals.takeEnd() { loop.stop() }
  }
}

/// What a control plane is configured by.
protocol ConfigurationSource: AnyObject {
  var source: ResourceSource { get }
  /// The mesh, where that is what is configured.
  var mesh: MeshSource? { get }
  /// Something could not be read; what stood there before is served, and it is looked for again.
  var isIncomplete: Bool { get }
  /// Directories of which changes matter.
  var directories: [String] { get }
  /// What is served, in words.
  var summary: String { get }
  func validate() throws(ControlPlane.StartError)
  /// Reads for the first time.
  func start() throws(ControlPlane.StartError)
  /// Reads again; whether there is something else to serve.
  func reload() -> Bool
}
