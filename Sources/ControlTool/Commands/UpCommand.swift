import ArgumentParser
import CLinux
import Glibc

/// Where a mesh of this machine keeps what it needs.
struct RuntimeOption: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Where the mesh keeps its state and logs; by default a directory of the user's own.",
      valueName: "path"))
  var directory: String?

  @Flag(help: "Leave the logs there when the mesh is taken down.")
  var keepLogs = false

  var runtime: RuntimeDirectory { RuntimeDirectory(directory) }
}

/// `fairleadctl up`.
struct UpCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "up",
    abstract: "Run a mesh as processes of this machine: a control plane, programs, proxies.",
    discussion: """
      Every replica of a Deployment gets an address of loopback and a proxy in front of it; the command \
      of its containers is what runs. Rules take effect when their file is saved. Ctrl-C, or \
      'fairleadctl down', takes everything down.
      """)

  @Argument(
    help: ArgumentHelp(
      "YAML with Deployments, Services and Istio's rules; or directories of such files.",
      valueName: "file"))
  var files: [String]

  @OptionGroup var place: RuntimeOption

  @Option(help: "The first two numbers of the workloads' addresses.")
  var subnet = "127.77"

  @Option(help: "Where the control plane answers people and their tools.")
  var control = ControlPlaneClient.defaultAddress

  @Option(help: "Where the control plane serves discovery.")
  var discovery = "127.0.0.1:15010"

  @Option(help: "Where the control plane issues certificates.")
  var identity = "127.0.0.1:15012"

  @Option(
    help: ArgumentHelp(
      "The directory of fairlead and fairlead-control; by default that of fairleadctl.",
      valueName: "path"))
  var binaries: String?

  @Option(help: "Seconds until everything has to be live.")
  var timeout = 30

  @Flag(name: [.short, .long], help: "Return when everything is live, and leave it running.")
  var detach = false

  @Flag(name: [.short, .long], help: "Show what all programs and proxies log.")
  var logs = false

  /// The process that `--detach` leaves running.
  @Flag(help: .hidden) var background = false

  func validate() throws {
    let numbers = subnet.split(separator: ".", omittingEmptySubsequences: false)
    guard numbers.count == 2, numbers[0] == "127", UInt8(numbers[1]) != nil else {
      throw ValidationError("'\(subnet)' is none of 127.0 to 127.255")
    }
    for address in [control, discovery, identity] where HTTPAddress(address) == nil {
      throw ValidationError("'\(address)' is no address; expected one such as 127.0.0.1:15014")
    }
    guard (1...3600).contains(timeout) else {
      throw ValidationError("--timeout is 1 to 3600 seconds")
    }
    guard !detach || !logs else {
      throw ValidationError("--logs shows what happens from now on, and --detach does not stay")
    }
  }

  func run() throws {
    // What stays running ends with the session's terminal otherwise.
    if detach { return try DetachedStart(arguments: CommandLine.arguments, place.runtime).run() }
    try runHere()
  }

  private func runHere() throws(ToolError) {
    var options = LocalMesh.Options()
    options.files = files
    options.directory = place.directory
    options.prefix = subnet
    options.binaries = binaries
    options.showsLogs = logs
    options.keepsLogs = place.keepLogs
    options.patience = timeout
    if let address = HTTPAddress(control) { options.control = address }
    if let address = HTTPAddress(discovery) { options.discovery = address }
    if let address = HTTPAddress(identity) { options.identity = address }
    let runtime = place.runtime
    let lock = try runtime.take()
    let left = runtime.endProcesses()
    if left > 0 { Console.say("Ended \(left) processes of a mesh that was not taken down.") }
    runtime.remove(keepingLogs: background, andState: false)
    let mark = runtime.write(holding: lock)
    defer {
      runtime.remove(keepingLogs: place.keepLogs)
      close(lock)
    }
    var mesh = try LocalMesh(options, in: runtime, mark: mark)
    do throws(ToolError) {
      try mesh.run()
    } catch {
      mesh.stop()
      throw error
    }
    mesh.stop()
  }
}

/// Starts `up` in the background, and waits until it has everything live.
struct DetachedStart {
  private let arguments: [String]
  private let runtime: RuntimeDirectory

  /// - Parameter arguments: the command line, `--detach` among it.
  init(arguments: [String], _ runtime: RuntimeDirectory) {
    self.arguments = arguments
    self.runtime = runtime
  }

  func run() throws {
    guard !runtime.isHeld else {
      throw ToolError(
        "a mesh is up already" + (runtime.owner.map { " (process \($0))" } ?? ""),
        remedy: "Take it down with 'fairleadctl down', or say another --directory and --subnet.")
    }
    let log = try makeLog()
    fl_hold_signals()
    let process = try start(log: log)
    var reader = LogReader()
    while true {
      for line in reader.newLines(of: log) { Console.say(line) }
      var code: Int32 = 0
      if unsafe fl_reap(&code) == process {
        for line in reader.newLines(of: log) { Console.say(line) }
        runtime.remove(keepingLogs: false)
        throw ExitCode(1)
      }
      if unsafe access(runtime.live, F_OK) == 0 {
        for line in reader.newLines(of: log) { Console.say(line) }
        return
      }
      let signal = fl_await_signal(50)
      if signal == SIGINT || signal == SIGTERM || signal == SIGHUP { kill(process, SIGTERM) }
    }
  }

  /// The log stands in the directory before its owner does; only what `up` made is replaced.
  private func makeLog() throws(ToolError) -> String {
    let lock = try runtime.take()
    _ = runtime.endProcesses()
    runtime.remove(keepingLogs: false, andState: false)
    try FilePath.makeDirectory(runtime.logs)
    close(lock)
    return runtime.ownLog
  }

  private func start(log: String) throws(ToolError) -> Int32 {
    let own = FileText.target(of: "/proc/self/exe") ?? arguments[0]
    let words =
      [own] + arguments.dropFirst().filter { $0 != "--detach" && $0 != "-d" }
      + ["--background"]
    let environment = ((try? FileText.read("/proc/self/environ")) ?? []).split(separator: 0)
      .map { String(decoding: $0, as: UTF8.self) }
    let text = (words + environment).map { $0 + "\0" }.joined()
    let outcome = unsafe fl_spawn(text, words.count, environment.count, ".", log, false)
    guard outcome > 0 else {
      throw ToolError("'\(own)' cannot be started: \(FilePath.reason(-outcome))")
    }
    return outcome
  }
}
