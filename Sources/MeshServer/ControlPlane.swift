import CLinux
import Engine
import GRPC
import Resources
import Telemetry

/// The control plane as a process: a file of resources, the server that serves them, and signals.
package final class ControlPlane {
  /// What the command line says.
  package struct Options {
    package var configPath: String
    package var address: SocketAddress
    package var version: String

    package init(configPath: String, address: SocketAddress, version: String) {
      self.configPath = configPath
      self.address = address
      self.version = version
    }
  }

  /// Why the process does not start; a line each.
  package struct StartError: Error {
    package let reasons: [String]
  }

  private let options: Options
  private let loop = EventLoop()
  private let server: MeshServer
  private var watch: FileWatch?
  /// The content that was read last, fit or not: what is written again unchanged is no news.
  private var lastBytes: [UInt8] = []

  package init(_ options: Options) {
    self.options = options
    server = MeshServer(RPCRuntime(loop: loop))
  }

  /// Whether the file could be served; why not.
  package static func validate(_ path: String) throws(StartError) {
    _ = try read(path)
  }

  private static func read(_ path: String) throws(StartError) -> ResourceSet {
    do throws(ResourceFile.Unfit) {
      return try ResourceFile.read(path)
    } catch {
      throw StartError(reasons: error.reasons)
    }
  }

  /// Serves until a signal ends it.
  package func run() throws(StartError) {
    ProcessLog.shared.info(
      .main, "fairlead-control \(options.version) (pid \(getpid())) is starting")
    ControlSignals.install(on: loop.mailbox)
    watch = FileWatch(options.configPath, on: loop) { [unowned self] in reload() }
    if watch == nil {
      ProcessLog.shared.warning(
        .config, "cannot watch '\(options.configPath)': changes go unnoticed")
    }
    lastBytes = content
    let resources = try Self.read(options.configPath)
    server.publish(resources)
    let address: SocketAddress
    do throws(RPCServer.ListenError) {
      address = try server.listen(on: options.address)
    } catch {
      throw StartError(reasons: ["error: \(error.description)"])
    }
    ProcessLog.shared.info(
      .main, "serving \(Self.summary(resources)) over xDS on \(address.description)")
    // SAFETY: this object lives as long as its loop runs, which is in this call.
    unsafe loop.atBatchEnd(context: Unmanaged.passUnretained(self).toOpaque()) { raw, _ in
      unsafe Unmanaged<ControlPlane>.fromOpaque(raw).takeUnretainedValue().handleSignals()
    }
    loop.run()
    server.close()
    // What closing deferred.
    loop.turn(waitAtMost: 0)
    ProcessLog.shared.info(.main, "exiting")
  }

  private var content: [UInt8] {
    (try? FileReader.read(options.configPath, atMost: YAMLLimits.bytes).get()) ?? []
  }

  private func reload() {
    let bytes = content
    guard bytes != lastBytes else { return }
    lastBytes = bytes
    do throws(StartError) {
      let resources = try Self.read(options.configPath)
      server.publish(resources)
      ProcessLog.shared.info(
        .config, "'\(options.configPath)' has changed: serving \(Self.summary(resources))")
    } catch {
      for reason in error.reasons { ProcessLog.shared.error(.config, reason) }
      ProcessLog.shared.error(
        .config, "'\(options.configPath)' is not taken over; what was served before still is")
    }
  }

  private func handleSignals() {
    if ControlSignals.takeEnd() { loop.stop() }
  }

  private static func summary(_ resources: ResourceSet) -> String {
    typealias TypeURL = ResourceSet.TypeURL
    return "\(resources.count(of: TypeURL.listener)) listeners, "
      + "\(resources.count(of: TypeURL.routes)) route configurations, "
      + "\(resources.count(of: TypeURL.cluster)) clusters, "
      + "\(resources.count(of: TypeURL.endpoints)) endpoint assignments"
  }
}

/// Signals become messages to the loop: a handler only notes that one came, and wakes it.
private enum ControlSignals {
  nonisolated(unsafe) private static let pending = Ref<fl_cell>.immortal(fl_cell())
  nonisolated(unsafe) private static var mailbox: Mailbox?

  /// SIGTERM and SIGINT end, SIGPIPE and SIGHUP do nothing.
  static func install(on mailbox: Mailbox) {
    unsafe self.mailbox = mailbox
    // The mailbox and the flag are made before a handler can run.
    _ = unsafe fl_flag_get(pending.pointer)
    signal(SIGPIPE) { _ in }
    signal(SIGHUP) { _ in }
    signal(SIGTERM) { _ in ControlSignals.note() }
    signal(SIGINT) { _ in ControlSignals.note() }
  }

  private static func note() {
    unsafe fl_flag_set(pending.pointer, 1)
    unsafe mailbox?.wake()
  }

  /// The process is to end.
  static func takeEnd() -> Bool {
    let came = unsafe fl_flag_get(pending.pointer) != 0
    if came { unsafe fl_flag_set(pending.pointer, 0) }
    return came
  }
}
