import CLinux
import Glibc
import MeshModel

/// A mesh as processes of this machine: a control plane, and programs with a proxy before each. Starts
/// them, starts them again when they end, follows the user's files, and takes everything down.
struct LocalMesh {
  /// What the command line says.
  struct Options {
    var files: [String] = []
    var directory: String?
    var prefix = "127.77"
    var control = HTTPAddress(host: "127.0.0.1", port: 15014)
    var discovery = HTTPAddress(host: "127.0.0.1", port: 15010)
    /// Where the control plane issues certificates.
    var identity = HTTPAddress(host: "127.0.0.1", port: 15012)
    /// Where the other programs are; nil for beside this one.
    var binaries: String?
    var showsLogs = false
    var keepsLogs = false
    var patience = 30
  }

  let options: Options
  let runtime: RuntimeDirectory
  private var files: LocalFiles
  private let tokens: LocalTokens
  private let workloads: [LocalWorkload]
  private var processes: [LocalProcess]
  /// For each workload, which of the processes are its own; the proxy is the last of them.
  private let owned: [Range<Int>]
  /// As the control plane was told last.
  private var readiness: [Bool]
  private var isAnnounced = false

  /// Reads the files and writes what is needed; starts nothing.
  /// - Parameter mark: for the environment of every process.
  init(_ options: Options, in runtime: RuntimeDirectory, mark: String) throws(ToolError) {
    self.options = options
    self.runtime = runtime
    for directory in runtime.directories {
      try FilePath.makeDirectory(directory)
    }
    files = try LocalFiles(options.files, target: runtime.config)
    let problems = try files.follow().problems
    for problem in problems { Console.note(problem.description) }
    guard !problems.contains(where: { $0.severity == .error }) else {
      throw ToolError("what the files say cannot be used", remedy: "See above.")
    }
    workloads = try LocalWorkload.all(in: files.objects, prefix: options.prefix)
    guard !workloads.isEmpty else {
      throw ToolError(
        "there is no Deployment in the files, so there is nothing to run",
        remedy: "examples/deck/mesh.yaml has some.")
    }
    let builder = try LocalProcesses(options, runtime, mark: mark)
    tokens = builder.tokens(for: workloads)
    processes = [builder.controlPlane]
    var owned: [Range<Int>] = []
    for workload in workloads {
      let first = processes.count
      processes += try builder.processes(of: workload)
      owned.append(first..<processes.count)
    }
    self.owned = owned
    readiness = workloads.map { _ in false }
    try writePods()
    for note in LowPorts.notes(on: files.objects) + ProxyNotes.notes(on: files.objects) {
      Console.note(note)
    }
  }

  private func writePods() throws(ToolError) {
    let pods = zip(workloads, readiness).map { LocalDocuments.pod($0, isReady: $1) }
    try FilePath.write(LocalDocuments.file(pods), to: runtime.config + "/pods.yaml")
  }

  // MARK: Life

  /// Runs until it is told to end; says whether everything was live in time.
  mutating func run() throws(ToolError) {
    fl_hold_signals()
    let began = Self.now
    try tokens.make()
    Console.say(
      "Starting a control plane, and \(workloads.count) workloads with a proxy before each ...")
    while true {
      for index in processes.indices {
        // Proxies ask the control plane for their certificates before anything else.
        if index > 0, !isAnnounced, !processes[0].isLive { break }
        if let problem = processes[index].startIfDue(at: Self.now) { Console.say(problem) }
        processes[index].look()
      }
      try tellReadiness()
      announceIfLive(since: began)
      if !isAnnounced, Self.now - began > options.patience * 1000 { throw notLive() }
      switch fl_await_signal(isAnnounced ? 200 : 50) {
      case SIGINT, SIGTERM, SIGHUP: return
      default: break
      }
      reap()
      followFiles()
      if options.showsLogs { showLogs() }
    }
  }

  private mutating func reap() {
    var code: Int32 = 0
    while true {
      let process = unsafe fl_reap(&code)
      guard process > 0 else { return }
      guard let index = processes.firstIndex(where: { $0.process == process }) else { continue }
      Console.say(processes[index].ended(code, at: Self.now))
    }
  }

  /// Requests go to workloads whose programs and proxy are live.
  private mutating func tellReadiness() throws(ToolError) {
    // A proxy is live once it has heard of its workload, ready or not.
    let fresh = owned.map { range in range.allSatisfy { processes[$0].isLive } }
    guard fresh != readiness else { return }
    for (index, isReady) in fresh.enumerated() where isReady != readiness[index] && isReady {
      Console.say("  \(workloads[index].fullName) is live")
    }
    readiness = fresh
    try writePods()
  }

  private mutating func announceIfLive(since began: Int) {
    guard !isAnnounced, processes.allSatisfy(\.isLive), EndpointCheck.isCurrent(options, workloads)
    else { return }
    isAnnounced = true
    let time = Self.now - began
    Console.say("Everything is live after \(time / 1000).\(time % 1000 / 100) s.\n")
    Console.say(MeshReport.text(workloads, files.objects, options, runtime))
    try? FilePath.write([], to: runtime.live)
  }

  private func notLive() -> ToolError {
    let late = processes.filter { !$0.isLive }
    for process in late {
      Console.note("\(process.name) is not live; its log, \(process.log), ends with")
      for line in LogReader.end(of: process.log, lines: 10) { Console.note("    " + line) }
    }
    return ToolError(
      "not everything is live after \(options.patience) s: "
        + (late.isEmpty
          ? "proxies have not heard of all" : late.map(\.name).joined(separator: ", ")))
  }

  private mutating func followFiles() {
    do throws(ToolError) {
      let news = try files.follow()
      for problem in news.problems { Console.say(problem.description) }
      for id in news.changed.sorted() {
        let remark =
          [.deployment, .proxyConfig].contains(id.kind)
          ? ": what runs stays as it is until the next 'up'" : ": the control plane is told"
        Console.say("\(id) has changed\(remark)")
      }
    } catch {
      Console.say(error.description)
    }
  }

  private mutating func showLogs() {
    for index in processes.indices {
      for line in processes[index].newLines() {
        Console.say("[\(processes[index].name)] \(line)")
      }
    }
  }

  // MARK: The end

  /// Ends every process: first those that use others.
  mutating func stop() {
    Console.say("Taking everything down ...")
    for process in processes.reversed() { process.signal(SIGTERM) }
    let deadline = Self.now + 3000
    while processes.contains(where: { $0.process != nil }), Self.now < deadline {
      var code: Int32 = 0
      let process = unsafe fl_reap(&code)
      guard process > 0 else {
        _ = fl_await_signal(20)
        continue
      }
      if let index = processes.firstIndex(where: { $0.process == process }) {
        _ = processes[index].ended(code, at: Self.now)
      }
    }
    for process in processes { process.signal(SIGKILL) }
    _ = runtime.endProcesses()
  }

  /// Milliseconds of a clock that nobody sets.
  private static var now: Int {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
  }
}
