import CLinux
import Engine
import GRPC
import MeshModel
import MeshTranslation
import Resources
import Telemetry

/// Writes the workloads that register themselves into a file among those that are followed, so that they
/// are objects like others, and are there when this process starts again before their proxies have come
/// back. Belongs to one loop.
final class Registrar {
  private let folder: MeshFolder
  private let timer: LoopTimer
  private let graceTimer: LoopTimer
  private var state: RegistrationState
  private var lastWritten: [UInt8] = []
  private var saidMissing: Set<ObjectID> = []
  /// Takes over what stands in the files now.
  var reload: () -> Void = {}
  /// Proxies that come together are written together: a file is synchronised, and read again, at a time.
  private static let batchMilliseconds: UInt64 = 20

  init(_ folder: MeshFolder, on loop: EventLoop, graceMilliseconds: UInt64) {
    self.folder = folder
    timer = LoopTimer(on: loop)
    graceTimer = LoopTimer(on: loop)
    state = RegistrationState(graceMilliseconds: graceMilliseconds)
  }

  private var now: UInt64 { fl_monotonic_ns() / 1_000_000 }
  private var file: String? { folder.dataDirectory.map { $0 + "/registered.yaml" } }

  /// Takes over what is in the file, once everything has been read.
  func start() {
    guard let file else { return }
    lastWritten = folder.files[file] ?? []
    for id in folder.store.objects(in: file) {
      guard let object = folder.store.entries[id]?.object,
        let entry = RegisteredEntry.entry(of: object)
      else { continue }
      state.restore(id, entry, at: now)
    }
    watchGrace()
    refreshSoon()
  }

  // MARK: What proxies do

  func connected(_ node: ProxyNode, stream: UInt64) {
    guard !node.autoRegisterGroup.isEmpty else { return }
    guard let id = RegistrationState.id(of: node), file != nil,
      AppliedDirectory.problem(with: id) == nil
    else {
      let reason =
        file == nil
        ? "there is no --data-dir" : "it has no address, or one of them is no name of an object"
      return ProcessLog.shared.warning(
        .config,
        "node '\(node.id)' cannot be registered in group '\(node.autoRegisterGroup)': \(reason)")
    }
    if node.client == .fairlead, !node.reportsHealth,
      isProbed(ObjectID(.workloadGroup, node.namespace, node.autoRegisterGroup))
    {
      ProcessLog.shared.warning(
        .config,
        "'\(id.name)' stays unready: its group has a probe, and its proxy was not told one "
          + "(PROXY_CONFIG.readinessProbe in the node's metadata)")
    }
    if state.connected(node, stream: stream) { refreshSoon() }
  }

  private func isProbed(_ group: ObjectID) -> Bool {
    guard case .workloadGroup(let spec) = folder.store.entries[group]?.object?.spec else {
      return false
    }
    return spec.hasProbe
  }

  func disconnected(stream: UInt64) {
    state.disconnected(stream: stream, at: now)
    watchGrace()
  }

  /// A proxy says how its application is; nil for well.
  func reported(_ problem: String?, stream: UInt64) {
    if state.report(problem.map { .unhealthy($0) } ?? .healthy, stream: stream) { refreshSoon() }
  }

  private func watchGrace() {
    guard let deadline = state.nextDeadline else { return graceTimer.cancel() }
    let present = now
    graceTimer.set(milliseconds: deadline > present ? deadline - present : 1) { [unowned self] in
      if state.expire(at: now) { refresh() }
      watchGrace()
    }
  }

  // MARK: The file

  private func refreshSoon() {
    guard !timer.isSet else { return }
    timer.set(milliseconds: Self.batchMilliseconds) { [unowned self] in refresh() }
  }

  /// Writes what there is, if it is something else. Groups may have changed, too.
  func refresh() {
    guard let file else { return }
    var text = ""
    for (id, entry) in state.entries.sorted(by: { $0.key < $1.key }) {
      guard case .workloadGroup(let group) = folder.store.entries[entry.group]?.object?.spec else {
        if saidMissing.insert(entry.group).inserted {
          ProcessLog.shared.warning(
            .config, "'\(id.name)' is not registered: there is no \(entry.group)")
        }
        continue
      }
      saidMissing.remove(entry.group)
      text += "---\n" + RegisteredEntry.value(id, entry, group).yaml
    }
    let bytes = Array(text.utf8)
    guard bytes != lastWritten else { return }
    do throws(FileError) {
      if let directory = folder.dataDirectory { try PrivateFile.makeDirectory(directory) }
      try PrivateFile.write(file, bytes)
      lastWritten = bytes
    } catch {
      return ProcessLog.shared.error(.config, "workloads are not registered: \(error.message)")
    }
    reload()
  }
}
