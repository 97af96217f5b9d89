import MeshModel
import Resources
import Telemetry

/// A directory of Istio's and Kubernetes' objects, and the mesh that they describe.
final class MeshFolder: ConfigurationSource {
  private let directory: MeshDirectory
  /// Where objects are kept that come over HTTP; nil: nowhere.
  let dataDirectory: String?
  /// It is not within the other one, and is read besides.
  private let isApart: Bool
  private let made: MeshSource
  private(set) var directories: [String] = []
  /// What stood in the files when they could be read last.
  private(set) var files: [String: [UInt8]] = [:]
  private(set) var isIncomplete = false
  /// Told when something has changed, also what is wrong.
  var contentChanged: (() -> Void)?
  /// What was said of the files last: the same is not said again.
  private var lastProblems: Set<String> = []

  /// - Parameter dataDirectory: of objects that come over HTTP; `applied` in the directory itself
  ///   unless it is said otherwise.
  init(_ path: String, dataDirectory: String? = nil, options: RegistryOptions) {
    let path = Self.trimmed(path)
    directory = MeshDirectory(path: path)
    self.dataDirectory =
      dataDirectory.map(Self.trimmed)
      ?? (MeshDirectory.isDirectory(path) ? path + "/applied" : nil)
    isApart = !(self.dataDirectory?.hasPrefix(path + "/") ?? true)
    made = MeshSource(options: options)
  }

  /// One directory has one name, so that its files have.
  private static func trimmed(_ path: String) -> String {
    var path = Substring(path)
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    return String(path)
  }

  private func read() -> MeshDirectory.Content {
    var content = directory.read()
    guard isApart, let dataDirectory, MeshDirectory.isDirectory(dataDirectory) else {
      return content
    }
    let applied = MeshDirectory(path: dataDirectory).read()
    content.files.merge(applied.files) { own, _ in own }
    content.directories += applied.directories
    content.problems += applied.problems
    content.unreadable += applied.unreadable
    return content
  }

  var store: MeshStore { made.store }

  var source: ResourceSource { made }
  var mesh: MeshSource? { made }

  func validate() throws(ControlPlane.StartError) {
    let content = read()
    _ = made.update(content.files)
    let errors = made.store.diagnostics.filter { $0.severity == .error }.map(\.description)
    guard content.problems.isEmpty, errors.isEmpty else {
      throw ControlPlane.StartError(reasons: content.problems + errors)
    }
  }

  /// What is wrong does not keep the rest from being served.
  func start() throws(ControlPlane.StartError) {
    let content = read()
    guard !content.directories.isEmpty || !content.files.isEmpty else {
      throw ControlPlane.StartError(
        reasons: content.problems.isEmpty
          ? ["\(directory.path): no such directory"] : content.problems)
    }
    take(content)
  }

  func reload() -> Bool {
    let changed = take(read())
    guard !changed.isEmpty else { return false }
    let shown = changed.sorted().prefix(10).map(\.description).joined(separator: ", ")
    let more = changed.count > 10 ? " and \(changed.count - 10) more" : ""
    ProcessLog.shared.info(.config, "changed: \(shown)\(more)")
    return true
  }

  @discardableResult
  private func take(_ content: MeshDirectory.Content) -> Set<ObjectID> {
    var content = content
    content.keep(files)
    files = content.files
    isIncomplete = !content.unreadable.isEmpty
    directories = content.directories
    let changed = made.update(content.files)
    let problems = content.problems + made.store.diagnostics.map(\.description)
    for problem in problems where !lastProblems.contains(problem) {
      ProcessLog.shared.warning(.config, problem)
    }
    let all = Set(problems)
    if !changed.isEmpty || all != lastProblems { contentChanged?() }
    lastProblems = all
    return changed
  }

  var summary: String {
    let kinds = Dictionary(grouping: made.store.objects, by: \.id.kind)
    let parts = kinds.sorted { $0.key < $1.key }.map { "\($1.count) \($0.rawValue)" }
    return parts.isEmpty ? "an empty mesh" : parts.joined(separator: ", ")
  }
}
