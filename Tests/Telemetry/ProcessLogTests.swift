import Glibc
import Synchronization
import Testing

@testable import Telemetry

/// Messages that arrive on any thread.
final class Reports: Sendable {
  private let kept = Mutex<[String]>([])

  func add(_ message: String) { kept.withLock { $0.append(message) } }

  var all: [String] { kept.withLock { $0 } }
}

@Suite("Process log")
struct ProcessLogTests {
  let directory = TemporaryDirectory()
  let log = ProcessLog()

  init() throws {
    try log.open(path: "\(directory.path)/log")
  }

  private var lines: [Substring] { directory.read("log").split(separator: "\n") }

  @Test("a line has Envoy's form")
  func form() throws {
    log.info(.main, "starting")
    let line = try #require(lines.first)
    let pattern = /\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\]\[\d+\]\[info\]\[main\] starting/
    #expect(line.wholeMatch(of: pattern) != nil)
  }

  @Test("a component tells what its level allows, and builds no text for the rest")
  func levels() {
    log.setLevel(.warning)
    log.setLevel(.debug, of: .upstream)
    log.info(
      .main,
      {
        Issue.record("built in vain")
        return "no"
      }())
    log.warning(.main, "one")
    log.debug(.upstream, "two")
    log.log(.trace, .upstream, "no")
    log.setLevel(.off)
    log.critical(.main, "no")
    #expect(lines.map { $0.suffix(3) } == ["one", "two"])
  }

  @Test("a list of levels is taken as a whole or not at all")
  func lists() {
    #expect(log.setLevels(fromList: "upstream:debug,hc:warn") == nil)
    #expect(log.level(of: .upstream) == .debug)
    #expect(log.level(of: .healthCheck) == .warning)
    #expect(
      log.setLevels(fromList: "main:trace,upstrem:debug")
        == "there is no log component “upstrem”; did you mean upstream?")
    #expect(log.level(of: .main) == .info)
    #expect(log.setLevels(fromList: "main") == "“main” is not of the form component:level")
    #expect(log.setLevels(fromList: "main:loud")?.hasPrefix("there is no log level “loud”") == true)
  }

  @Test("a message cannot begin a line of its own, and a long one is cut")
  func hostileMessages() {
    log.info(.main, "a\n[x]\u{1}\u{7F}é")
    log.info(.main, String(repeating: "y", count: 10_000))
    #expect(lines.count == 2)
    #expect(lines[0].hasSuffix("a\\n[x]\\x01\\x7fé"))
    #expect(lines[1].utf8.count == 4095)
  }

  @Test("a reopened log goes on under its name")
  func reopening() {
    log.info(.main, "one")
    rename("\(directory.path)/log", "\(directory.path)/log.1")
    #expect(log.reopen() == nil)
    log.info(.main, "two")
    #expect(directory.read("log.1").hasSuffix("one\n"))
    #expect(directory.read("log").hasSuffix("two\n"))
  }

  @Test("lines of many threads stay whole")
  func threads() {
    let log = log
    let threads = (0..<4).map { number in
      TestThread { for _ in 0..<200 { log.info(.main, "line \(number) end") } }
    }
    for thread in threads { thread.join() }
    #expect(lines.count == 800)
    #expect(lines.allSatisfy { $0.hasSuffix(" end") })
    #expect(log.dropped == 0)
  }
}
