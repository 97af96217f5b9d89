import CLinux
import Glibc

/// A program of the mesh: how it is started, whether it runs, and where its log is.
struct LocalProcess {
  /// What tells that it does its work.
  enum Check {
    case listening(address: String, port: UInt16)
    /// A page that answers 200.
    case page(HTTPAddress, String)
    /// Nothing but that it runs.
    case running
  }

  let name: String
  let words: [String]
  let environment: [String]
  let directory: String
  let log: String
  let check: Check

  private(set) var process: Int32?
  private(set) var isLive = false
  private(set) var restart = RestartState()
  private var reader = LogReader()

  init(
    name: String, words: [String], environment: [String], directory: String, log: String,
    check: Check
  ) {
    self.name = name
    self.words = words
    self.environment = environment
    self.directory = directory
    self.log = log
    self.check = check
  }

  /// Starts it, if its time has come; returns what is wrong if it cannot be.
  mutating func startIfDue(at now: Int) -> String? {
    guard let due = restart.due, now >= due else { return nil }
    let text = (words + environment).map { $0 + "\0" }.joined()
    let outcome = unsafe fl_spawn(
      text, words.count, environment.count, directory, log, true)
    guard outcome > 0 else {
      let wait = restart.ended(at: now)
      return "\(name): '\(words[0])' cannot be started: \(FilePath.reason(-outcome))"
        + Self.again(after: wait)
    }
    process = outcome
    restart.started(at: now)
    return nil
  }

  /// Looks whether it does its work now.
  mutating func look() {
    guard process != nil, !isLive else { return }
    switch check {
    case .running: isLive = true
    case .listening(let address, let port): isLive = unsafe fl_is_listening(address, port)
    case .page(let address, let path):
      isLive = (try? HTTPClient(address).get(path))?.status == 200
    }
  }

  /// It has ended: what to say about it.
  mutating func ended(_ code: Int32, at now: Int) -> String {
    process = nil
    isLive = false
    let how = code < 0 ? "was ended by signal \(-code)" : "ended with exit code \(code)"
    let wait = restart.ended(at: now)
    let last = LogReader.end(of: log, lines: 3).map { "\n    " + $0 }.joined()
    return "\(name) \(how)\(Self.again(after: wait)); its log is \(log)\(last)"
  }

  /// What it has logged since the last time, line by line.
  mutating func newLines() -> [String] { reader.newLines(of: log) }

  /// Asks it, and all that it has started in its session, to end.
  func signal(_ number: Int32) {
    // It leads the group of its processes, and has not been waited for: the number is its own.
    if let process { kill(-process, number) }
  }

  private static func again(after wait: Int) -> String {
    "; it is started again in \(wait / 1000).\(wait % 1000 / 100) s"
  }
}

/// Reads what is added to a file.
struct LogReader {
  private var offset = 0
  private var rest: [UInt8] = []

  /// Whole lines that were added since the last time.
  mutating func newLines(of path: String) -> [String] {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return [] }
    defer { close(descriptor) }
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    let count = unsafe buffer.withUnsafeMutableBytes {
      unsafe pread(descriptor, $0.baseAddress, $0.count, offset)
    }
    guard count > 0 else { return [] }
    offset += count
    rest += buffer[..<count]
    var lines = rest.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    rest = lines.popLast().map(Array.init) ?? []
    return lines.map { String(decoding: $0, as: UTF8.self) }
  }

  /// The last lines of a file.
  static func end(of path: String, lines: Int) -> [String] {
    let bytes = (try? FileText.read(path)) ?? []
    return bytes.suffix(4096).split(separator: UInt8(ascii: "\n")).suffix(lines).map {
      String(decoding: $0, as: UTF8.self)
    }
  }
}
