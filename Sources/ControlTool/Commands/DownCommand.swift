import ArgumentParser
import CLinux
import Glibc

/// `fairleadctl down`.
struct DownCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "down",
    abstract: "Take down what 'fairleadctl up' has started, also after it was killed.")

  @OptionGroup var place: RuntimeOption

  func run() throws {
    let runtime = place.runtime
    guard unsafe access(runtime.state, F_OK) == 0 else {
      return Console.note("note: nothing is up (\(runtime.path))")
    }
    if runtime.isHeld, let owner = runtime.owner { end(owner, runtime) }
    guard unsafe access(runtime.state, F_OK) == 0 else { return }
    // Nobody runs it: whoever did was killed.
    let lock = try runtime.take()
    defer { close(lock) }
    let count = runtime.endProcesses()
    runtime.remove(keepingLogs: place.keepLogs)
    Console.note("note: 'up' was gone already; \(count) processes were left, and are ended")
  }

  /// Asks the owner to end, and makes it end.
  private func end(_ owner: Int32, _ runtime: RuntimeDirectory) {
    kill(owner, SIGTERM)
    for _ in 0..<1000 where runtime.isHeld { usleep(10_000) }
    if runtime.isHeld { kill(owner, SIGKILL) }
    // Its last act is to give the lock back; one that has ended has no environment.
    for _ in 0..<100 {
      guard let left = try? FileText.read("/proc/\(owner)/environ"), !left.isEmpty else { return }
      usleep(10_000)
    }
  }
}
