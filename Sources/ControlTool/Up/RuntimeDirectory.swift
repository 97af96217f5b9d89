import CLinux
import Glibc

/// What a mesh of this machine keeps while it is up: who runs it, its processes' configuration, and
/// their logs.
///
/// Whoever runs it holds a lock on `state`, which the kernel gives back however that process ends. Every
/// process of the mesh, and each that they start in turn, has the mark that stands in `state` in its
/// environment: by that they are found, and no number of a process that has become another's.
struct RuntimeDirectory {
  let path: String

  static let variable = "FAIRLEAD_UP"
  /// All that there is in it.
  private static let names: Set<String> = [
    "state", "live", "config", "bootstrap", "logs", "ca", "tokens", "certificates",
  ]

  /// - Parameter path: nil for the user's own place.
  init(_ path: String?) {
    let own = FilePath.variable("XDG_RUNTIME_DIR").map { $0 + "/fairlead-up" }
    self.path = path ?? own ?? "/tmp/fairlead-up-\(getuid())"
  }

  var state: String { path + "/state" }
  var config: String { path + "/config" }
  var bootstraps: String { path + "/bootstrap" }
  var logs: String { path + "/logs" }
  /// Of the control plane.
  var authority: String { path + "/ca" }
  var tokens: String { path + "/tokens" }
  /// Of the proxies, a directory for each.
  var certificates: String { path + "/certificates" }
  /// All that a mesh needs from the start.
  var directories: [String] { [config, bootstraps, logs, authority, tokens, certificates] }
  /// Of a mesh in the background: what `up` has to say.
  var ownLog: String { logs + "/up.log" }
  /// There once everything is live.
  var live: String { path + "/live" }

  /// Makes the directory this process's own: until `descriptor` is closed, nobody else's.
  func take() throws(ToolError) -> Int32 {
    try FilePath.makeDirectory(path)
    var status = stat()
    guard unsafe lstat(path, &status) == 0, status.st_uid == geteuid(),
      status.st_mode & S_IFMT == S_IFDIR
    else { throw ToolError("'\(path)' is somebody else's", remedy: "Say --directory.") }
    let known = FileText.names(in: path)
    guard known.allSatisfy(Self.names.contains) else {
      throw ToolError("'\(path)' has other things in it", remedy: "Say another --directory.")
    }
    let lock = unsafe fl_open_locked(state)
    if lock == -EWOULDBLOCK {
      throw ToolError(
        "a mesh is up already" + (owner.map { " (process \($0))" } ?? ""),
        remedy: "Take it down with 'fairleadctl down', or say another --directory and --subnet.")
    }
    guard lock >= 0 else { throw ToolError("cannot open '\(state)': \(FilePath.reason(-lock))") }
    return lock
  }

  /// Whether somebody runs the mesh.
  var isHeld: Bool {
    guard unsafe access(state, F_OK) == 0 else { return false }
    let lock = unsafe fl_open_locked(state)
    if lock >= 0 { close(lock) }
    return lock == -EWOULDBLOCK
  }

  // MARK: State

  private var lines: [String] {
    guard let bytes = try? FileText.read(state) else { return [] }
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
  }

  /// The process that runs the mesh, or did.
  var owner: Int32? { lines.first.flatMap { Int32($0) } }

  /// What its processes have in their environment.
  var mark: String? { lines.count > 1 ? lines[1] : nil }

  /// Says who runs the mesh now; returns the mark for its processes.
  func write(holding lock: Int32) -> String {
    var random = SystemRandomNumberGenerator()
    let mark = String(random.next(), radix: 16) + String(random.next(), radix: 16)
    // In place: another file would have no lock.
    let bytes = Array("\(getpid())\n\(mark)\n".utf8)
    _ = ftruncate(lock, 0)
    _ = unsafe bytes.withUnsafeBytes { unsafe pwrite(lock, $0.baseAddress, $0.count, 0) }
    return mark
  }

  // MARK: The end

  /// Ends every process that has the mark but this one; returns how many there were.
  func endProcesses() -> Int {
    guard let mark else { return 0 }
    let wanted = Array("\(Self.variable)=\(mark)".utf8)
    var ended: Set<Int32> = []
    // Those that were started meanwhile are found on the next round.
    for _ in 0..<100 {
      let found = FileText.names(in: "/proc").compactMap { Int32($0) }.filter {
        $0 != getpid() && Self.environment(of: $0).contains { $0.elementsEqual(wanted) }
      }
      guard !found.isEmpty else { break }
      for process in found { kill(process, SIGKILL) }
      ended.formUnion(found)
      usleep(10_000)
    }
    return ended.count
  }

  private static func environment(of process: Int32) -> [ArraySlice<UInt8>] {
    ((try? FileText.read("/proc/\(process)/environ")) ?? []).split(separator: 0)
  }

  /// Removes what `up` has made, and nothing else.
  /// - Parameter andState: also the state, and with it the directory.
  func remove(keepingLogs: Bool, andState: Bool = true) {
    for directory in directories where directory != logs || !keepingLogs {
      FilePath.remove(directory)
    }
    unlink(live)
    guard andState else { return }
    unlink(state)
    _ = unsafe rmdir(path)
  }

  private func unlink(_ file: String) { _ = unsafe Glibc.unlink(file) }
}
