import CLinux
import Glibc
import Synchronization

/// How much a component tells, from everything to nothing.
package enum ProcessLogLevel: UInt8, CaseIterable, Comparable, Sendable {
  case trace
  case debug
  case info
  case warning
  case error
  case critical
  case off

  /// As on the command line and in the log.
  package var name: String { "\(self)" }

  /// The level of this name; `warn` is Envoy's other word for `warning`.
  package init?(name: String) {
    let wanted = name == "warn" ? "warning" : name
    guard let level = Self.allCases.first(where: { $0.name == wanted }) else { return nil }
    self = level
  }

  package static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// The parts of the proxy that can be told apart in its log, under Envoy's names.
package enum ProcessLogComponent: UInt8, CaseIterable, Sendable {
  case admin
  case config
  case connection
  case connectionHandler
  case dns
  case file
  case filter
  case grpc
  case healthCheck
  case http
  case http2
  case initialization
  case io
  case localRateLimit
  case lua
  case main
  case matcher
  case misc
  case pool
  case rbac
  case router
  case runtime
  case secret
  case stats
  case tracing
  case upstream

  /// Envoy's name for it.
  package var name: String {
    switch self {
    case .connectionHandler: "conn_handler"
    case .healthCheck: "hc"
    case .initialization: "init"
    case .localRateLimit: "local_rate_limit"
    default: "\(self)"
    }
  }

  init?(name: String) {
    guard let known = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = known
  }
}

/// The proxy's own log, in Envoy's form:
/// `[2026-11-22 12:00:00.123][7122][info][main] starting main dispatch loop`.
///
/// Any thread may log. A line is built by its thread and written by one call; where nothing takes
/// it (a stopped reader of standard error), it is dropped and counted, and the thread goes on.
@safe
package final class ProcessLog: Sendable {
  // SAFETY: the levels are atomic cells, one for each component, that live as long as the log.
  private nonisolated(unsafe) let levels: UnsafeMutablePointer<UInt64>
  private let output = Mutex(Output())
  private let droppedLines = Atomic<UInt64>(0)

  private struct Output {
    var descriptor = STDERR_FILENO
    var path: String?
  }

  /// The longest line: a pipe that has any room takes so much without blocking (`PIPE_BUF`).
  private static let lineBytes = 4096

  /// The log of this process.
  package static let shared = ProcessLog()

  /// A log to standard error, on level `info`.
  package init() {
    unsafe levels = allocateCells(ProcessLogComponent.allCases.count)
    setLevel(.info)
  }

  deinit {
    let path = output.withLock { $0.path == nil ? nil : $0.descriptor }
    if let path { close(path) }
    unsafe freeCells(levels)
  }

  // MARK: Levels

  /// Sets the level of all components (`-l`, `POST /logging?level=`).
  package func setLevel(_ level: ProcessLogLevel) {
    for component in ProcessLogComponent.allCases { setLevel(level, of: component) }
  }

  /// Sets the level of one component (`POST /logging?upstream=debug`).
  package func setLevel(_ level: ProcessLogLevel, of component: ProcessLogComponent) {
    unsafe telemetry_store(levels + Int(component.rawValue), UInt64(level.rawValue))
  }

  /// The level of a component.
  package func level(of component: ProcessLogComponent) -> ProcessLogLevel {
    let raw = unsafe telemetry_load(levels + Int(component.rawValue))
    return ProcessLogLevel(rawValue: UInt8(truncatingIfNeeded: raw)) ?? .info
  }

  /// Sets levels from a list such as `upstream:debug,connection:trace`
  /// (`--component-log-level`, `POST /logging?paths=`). Returns what is wrong with it; nothing is
  /// changed then.
  package func setLevels(fromList list: String) -> String? {
    var changes: [(ProcessLogComponent, ProcessLogLevel)] = []
    for entry in list.split(separator: ",") {
      let parts = entry.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
      guard parts.count == 2 else { return "“\(entry)” is not of the form component:level" }
      guard let component = ProcessLogComponent(name: parts[0]) else {
        let names = ProcessLogComponent.allCases.map(\.name)
        let hint = NearestName.of(parts[0], among: names).map { "; did you mean \($0)?" } ?? ""
        return "there is no log component “\(parts[0])”\(hint)"
      }
      guard let level = ProcessLogLevel(name: parts[1]) else {
        let names = ProcessLogLevel.allCases.map(\.name).joined(separator: ", ")
        return "there is no log level “\(parts[1])”; use one of \(names)"
      }
      changes.append((component, level))
    }
    for (component, level) in changes { setLevel(level, of: component) }
    return nil
  }

  // MARK: Output

  /// Writes to a file from now on (`--log-path`).
  package func open(path: String) throws(LogOpenError) {
    let flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC
    let descriptor = unsafe telemetry_open(path, flags, 0o644)
    guard descriptor >= 0 else {
      let reason = unsafe String(cString: strerror(errno))
      throw LogOpenError(description: "unable to open \(path): \(reason)")
    }
    output.withLock { output in
      if output.path != nil { close(output.descriptor) }
      output = Output(descriptor: descriptor, path: path)
    }
  }

  /// Opens the file again under its name, as after a rotation. Returns what went wrong; the old file
  /// stays in use then.
  package func reopen() -> String? {
    guard let path = output.withLock({ $0.path }) else { return nil }
    do {
      try open(path: path)
      return nil
    } catch {
      return error.description
    }
  }

  /// How many lines nobody took.
  package var dropped: UInt64 { droppedLines.load(ordering: .relaxed) }

  // MARK: Logging

  /// Logs a message; its text is built only when the component's level asks for it.
  package func log(
    _ level: ProcessLogLevel, _ component: ProcessLogComponent,
    _ message: @autoclosure () -> String
  ) {
    guard level >= self.level(of: component), level != .off else { return }
    write(Self.line(level, component, message()))
  }

  /// Something for a developer who looks for one.
  package func debug(_ component: ProcessLogComponent, _ message: @autoclosure () -> String) {
    log(.debug, component, message())
  }

  /// Something worth knowing that is not wrong.
  package func info(_ component: ProcessLogComponent, _ message: @autoclosure () -> String) {
    log(.info, component, message())
  }

  /// Something wrong that the proxy lives with.
  package func warning(_ component: ProcessLogComponent, _ message: @autoclosure () -> String) {
    log(.warning, component, message())
  }

  /// Something wrong that costs traffic or configuration.
  package func error(_ component: ProcessLogComponent, _ message: @autoclosure () -> String) {
    log(.error, component, message())
  }

  /// The last thing before the process ends.
  package func critical(_ component: ProcessLogComponent, _ message: @autoclosure () -> String) {
    log(.critical, component, message())
  }

  private static func line(
    _ level: ProcessLogLevel, _ component: ProcessLogComponent, _ message: String
  ) -> [UInt8] {
    var line: [UInt8] = []
    line.append("[" + timestamp() + "][\(telemetry_thread_id())][\(level.name)]")
    line.append("[\(component.name)] ")
    for byte in message.utf8.prefix(lineBytes) {
      // A message may quote a peer: it must not be able to begin a line of its own.
      if byte >= 0x20 && byte != 0x7F {
        line.append(byte)
      } else {
        line.append(byte == 0x0A ? "\\n" : byte == 0x09 ? "\t" : "\\x" + hexadecimal(byte))
      }
    }
    if line.count >= lineBytes { line.removeLast(line.count - lineBytes + 1) }
    line.append(0x0A)
    return line
  }

  private static func hexadecimal(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 16)
    return digits.count < 2 ? "0" + digits : digits
  }

  private static func timestamp() -> String {
    let now = telemetry_clock(CLOCK_REALTIME)
    let text = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) { buffer in
      guard let base = buffer.baseAddress else { return "" }
      // SAFETY: the format's text takes 20 bytes of the 32.
      let seconds = Int64(now / 1_000_000_000)
      _ = unsafe telemetry_format_time(base, 32, "%Y-%m-%d %H:%M:%S", seconds, true)
      return unsafe String(cString: base)
    }
    let milliseconds = String(1000 + now / 1_000_000 % 1000).dropFirst()
    return text + "." + milliseconds
  }

  private func write(_ line: [UInt8]) {
    // The lock keeps two threads from both finding room for one line.
    let taken = output.withLock { output in
      var request = pollfd(fd: output.descriptor, events: Int16(POLLOUT), revents: 0)
      guard unsafe poll(&request, 1, 0) > 0 else { return false }
      return unsafe line.withUnsafeBytes { bytes in
        unsafe Glibc.write(output.descriptor, bytes.baseAddress, bytes.count) == bytes.count
      }
    }
    if !taken { droppedLines.wrappingAdd(1, ordering: .relaxed) }
  }
}
