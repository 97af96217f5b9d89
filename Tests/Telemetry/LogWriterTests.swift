import Glibc
import Testing

@testable import Telemetry

/// A directory that goes with the test.
final class TemporaryDirectory {
  let path: String

  init() {
    var template = Array("/tmp/fairlead-telemetry-XXXXXX".utf8CString)
    path = mkdtemp(&template).map { String(cString: $0) } ?? "/tmp"
  }

  deinit {
    for name in ["log", "log.1", "other", "fifo"] { unlink("\(path)/\(name)") }
    rmdir(path)
  }

  func read(_ name: String) -> String {
    guard let file = fopen("\(path)/\(name)", "r") else { return "" }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = fread(&chunk, 1, chunk.count, file)
      guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
      bytes += chunk[..<count]
    }
  }
}

/// A request that is only a number.
struct NumberedSource: LogSource {
  var number: Int64
  var text = LogBytes()

  func value(of field: LogField, scratch: inout ByteSink) -> LogValue { .number(number) }
  func header(_ headers: LogHeaders, _ name: LogHeaderName) -> LogBytes? { text }
  func time(of point: LogTimePoint) -> UInt64? { nil }
  var startTime: UInt64 { 0 }
  var now: UInt64 { 0 }
  var responseFlags: ResponseFlags { [] }
  func metadata(_ kind: LogMetadata, _ path: LogPath, scratch: inout ByteSink) -> LogValue {
    .absent
  }
}

@Suite("Log writer")
struct LogWriterTests {
  private func value(_ store: StatsStore, _ name: String) -> UInt64 {
    store.value(store.counter(name))
  }

  @Test("lines of several workers arrive whole, and none is lost or doubled")
  func concurrentWorkers() throws {
    let directory = TemporaryDirectory()
    let store = StatsStore()
    let writer = try LogWriter(store)
    let first = try writer.open(.file("\(directory.path)/log"))
    let second = try writer.open(.file("\(directory.path)/other"))
    #expect(try writer.open(.file("\(directory.path)/log")) == first)
    try writer.start()
    let format = try LogFormat.text("%RESPONSE_CODE%\n")
    let lines = 20_000
    let threads = (0..<3).map { worker in
      let producer = writer.makeProducer(store.makeWorker())
      return TestThread {
        let renderer = LogRenderer()
        for line in 0..<lines {
          let source = NumberedSource(number: Int64(worker * lines + line))
          producer.append(format, source, with: renderer, to: first, now: UInt64(line))
          if line % 100 == 0 {
            producer.append(format, source, with: renderer, to: second, now: UInt64(line))
          }
          producer.flush(now: UInt64(line))
        }
        producer.flush(now: 0, everything: true)
        renderer.deallocate()
      }
    }
    for thread in threads { thread.join() }
    writer.stop()
    let seen = directory.read("log").split(separator: "\n").compactMap { Int($0) }
    let other = directory.read("other").split(separator: "\n").compactMap { Int($0) }
    #expect(Set(seen).count == seen.count)
    #expect(Set(other).count == other.count)
    let dropped = value(store, "access_log.lines_dropped")
    let all = UInt64(3 * lines + 3 * lines / 100)
    #expect(UInt64(seen.count + other.count) + dropped == all)
    #expect(value(store, "filesystem.write_buffered") == all - dropped)
    #expect(store.value(store.gauge("filesystem.write_total_buffered")) == 0)
    format.deallocate()
  }

  @Test("a line waits for a full block or for a second, not longer")
  func flushing() throws {
    let directory = TemporaryDirectory()
    let store = StatsStore()
    let writer = try LogWriter(store)
    let target = try writer.open(.file("\(directory.path)/log"))
    let producer = writer.makeProducer(store.makeWorker())
    let format = try LogFormat.text("%RESPONSE_CODE%\n")
    let renderer = LogRenderer()
    #expect(!producer.hasPending)
    producer.append(format, NumberedSource(number: 1), with: renderer, to: target, now: 5000)
    #expect(producer.hasPending)
    producer.flush(now: 5999)
    #expect(producer.hasPending)
    producer.flush(now: 6000)
    #expect(!producer.hasPending)
    try writer.start()
    writer.stop()
    #expect(directory.read("log") == "1\n")
    #expect(value(store, "filesystem.flushed_by_timer") == 1)
    #expect(value(store, "filesystem.write_completed") == 1)
    format.deallocate()
    renderer.deallocate()
  }

  @Test("a line longer than a block is cut, not lost")
  func longLine() throws {
    let directory = TemporaryDirectory()
    let store = StatsStore()
    let writer = try LogWriter(store)
    let target = try writer.open(.file("\(directory.path)/log"))
    let producer = writer.makeProducer(store.makeWorker())
    let format = try LogFormat.json(.object([("a", .string("%REQ(a)%"))]))
    let renderer = LogRenderer()
    let long = [UInt8](repeating: 0xFF, count: 60_000)
    long.withUnsafeBufferPointer { bytes in
      let source = NumberedSource(number: 0, text: LogBytes(bytes))
      producer.append(format, NumberedSource(number: 0), with: renderer, to: target, now: 0)
      producer.append(format, source, with: renderer, to: target, now: 0)
    }
    producer.flush(now: 0, everything: true)
    try writer.start()
    writer.stop()
    let lines = directory.read("log").split(separator: "\n")
    #expect(lines.count == 2)
    #expect(lines.last?.hasSuffix("\\u00ff\"}") == true)
    #expect((lines.last?.utf8.count ?? 0) > 60_000)
    #expect(value(store, "access_log.lines_dropped") == 0)
    format.deallocate()
    renderer.deallocate()
  }

  @Test("a reader that stops costs lines of its own log only, and they are counted")
  func stalledPipe() throws {
    let directory = TemporaryDirectory()
    let fifo = "\(directory.path)/fifo"
    mkfifo(fifo, 0o600)
    let reader = open(fifo, O_RDONLY | O_NONBLOCK)
    defer { close(reader) }
    let store = StatsStore()
    let writer = try LogWriter(store)
    let stalled = try writer.open(.file(fifo))
    let healthy = try writer.open(.file("\(directory.path)/log"))
    let producer = writer.makeProducer(store.makeWorker())
    let format = try LogFormat.text("%RESPONSE_CODE%%REQ(a)%\n")
    let renderer = LogRenderer()
    let padding = [UInt8](repeating: 0x41, count: 1000)
    try writer.start()
    padding.withUnsafeBufferPointer { bytes in
      for line in 0..<4000 {
        let source = NumberedSource(number: Int64(line), text: LogBytes(bytes))
        producer.append(format, source, with: renderer, to: stalled, now: 0)
        if line % 10 == 0 {
          producer.append(format, NumberedSource(number: 7), with: renderer, to: healthy, now: 0)
        }
      }
    }
    producer.flush(now: 0, everything: true)
    writer.stop()
    #expect(directory.read("log").split(separator: "\n").count == 400)
    #expect(value(store, "access_log.lines_dropped") > 3000)
    #expect(store.value(store.gauge("filesystem.write_total_buffered")) == 0)
    format.deallocate()
    renderer.deallocate()
  }

  @Test("after a rotation lines go to a new file under the old name")
  func reopening() throws {
    let directory = TemporaryDirectory()
    let store = StatsStore()
    let writer = try LogWriter(store)
    let path = "\(directory.path)/log"
    let target = try writer.open(.file(path))
    let producer = writer.makeProducer(store.makeWorker())
    let format = try LogFormat.text("%RESPONSE_CODE%\n")
    let renderer = LogRenderer()
    producer.append(format, NumberedSource(number: 1), with: renderer, to: target, now: 0)
    producer.flush(now: 0, everything: true)
    try writer.start()
    while value(store, "filesystem.write_completed") == 0 { sched_yield() }
    rename(path, "\(path).1")
    writer.reopen()
    producer.append(format, NumberedSource(number: 2), with: renderer, to: target, now: 0)
    producer.flush(now: 0, everything: true)
    writer.stop()
    #expect(directory.read("log.1") == "1\n")
    #expect(directory.read("log") == "2\n")
    format.deallocate()
    renderer.deallocate()
  }

  @Test("a full disk is counted and reported once")
  func fullDisk() throws {
    let store = StatsStore()
    let reports = Reports()
    let writer = try LogWriter(store, report: { reports.add($0) })
    let target = try writer.open(.file("/dev/full"))
    let producer = writer.makeProducer(store.makeWorker())
    let format = try LogFormat.text("%RESPONSE_CODE%\n")
    let renderer = LogRenderer()
    for _ in 0..<2 {
      producer.append(format, NumberedSource(number: 1), with: renderer, to: target, now: 0)
      producer.flush(now: 0, everything: true)
    }
    try writer.start()
    writer.stop()
    #expect(value(store, "filesystem.write_failed") == 2)
    #expect(value(store, "access_log.lines_dropped") == 2)
    #expect(reports.all == ["writing to /dev/full fails: No space left on device"])
    format.deallocate()
    renderer.deallocate()
  }

  @Test("a log that cannot be opened is refused with its path and the reason")
  func unopenable() throws {
    let writer = try LogWriter(StatsStore())
    #expect(
      throws: LogOpenError(
        description: "unable to open /nowhere/at/all: No such file or directory")
    ) { try writer.open(.file("/nowhere/at/all")) }
  }

  @Test("a ring gives in order what it was given, and says when it is full")
  func ring() {
    let ring = LogRing()
    defer { ring.deallocate() }
    for round in 0..<3 {
      for value in 0..<LogRing.capacity { #expect(ring.push(UInt64(value + round))) }
      #expect(!ring.push(1))
      for value in 0..<LogRing.capacity { #expect(ring.pop() == UInt64(value + round)) }
      #expect(ring.pop() == nil)
    }
  }
}
