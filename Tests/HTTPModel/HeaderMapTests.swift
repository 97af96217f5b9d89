import Engine
import Testing

@testable import HTTPModel

/// A map beside its pool, with text for bytes.
private final class Fields {
  var pool = BlockPool()
  var map = HeaderMap()

  func add(_ name: String, _ value: String) {
    let name = Bytes.immortal(name)
    map.add(name, id: HeaderID.of(name), .immortal(value), from: &pool)
  }

  func set(_ name: String, _ value: String) {
    let name = Bytes.immortal(name)
    map.set(name, id: HeaderID.of(name), .immortal(value), from: &pool)
  }

  /// The live fields, in order.
  var list: [String] {
    (0..<map.count).filter { map.isLive($0) }.map {
      "\(map.name($0).string): \(map.value($0).string)"
    }
  }

  var isVacant: Bool { map.isVacant }
  var overflowed: Bool { map.overflowed }
  var liveBytes: Int { pool.liveBytes }

  func value(_ id: HeaderID) -> String? { map[id]?.string }
  func value(_ name: String) -> String? { map[Bytes.immortal(name)]?.string }
  func isRepeated(_ id: HeaderID) -> Bool { map.isRepeated(id) }
  func release() { map.release(into: &pool) }

  /// A copy of another's live fields, in a pool of its own.
  static func copy(of other: Fields) -> Fields {
    let copy = Fields()
    copy.map.copy(from: other.map, pool: &copy.pool)
    return copy
  }

  deinit { map.release(into: &pool) }
}

extension HeaderPresence {
  /// Of fields with these ids, in order.
  fileprivate init(of ids: [HeaderID]) {
    self.init()
    for (place, id) in ids.enumerated() { add(id, at: place) }
  }
}

@Suite("Header maps")
struct HeaderMapTests {
  @Test("fields stay in order, known or not, and are found by name and id")
  func adding() {
    let fields = Fields()
    fields.add(":path", "/")
    fields.add("x-custom", "1")
    fields.add("cookie", "a")
    fields.add("cookie", "b")
    #expect(fields.list == [":path: /", "x-custom: 1", "cookie: a", "cookie: b"])
    #expect(fields.value(.path) == "/")
    #expect(fields.value("x-custom") == "1")
    #expect(fields.value(.cookie) == "a")
    #expect(fields.map.occurrences(of: .cookie) == 2)
    #expect(fields.value(.host) == nil)
    #expect(fields.value("x-custo") == nil)
    #expect(fields.map.contains(.userAgent) == false)
    fields.release()
    #expect(fields.isVacant)
    #expect(fields.liveBytes == 0)
  }

  @Test("a field is found first in order, whatever was removed, added again or renamed")
  func placing() {
    let fields = Fields()
    fields.add("host", "a")
    fields.add("content-length", "1")
    fields.add("content-length", "2")
    #expect(fields.value(.contentLength) == "1")
    #expect(fields.isRepeated(.contentLength))
    #expect(!fields.isRepeated(.host))
    fields.map.remove(at: 1)
    #expect(fields.value(.contentLength) == "2")
    #expect(!fields.isRepeated(.contentLength))
    fields.map.remove(.contentLength)
    #expect(fields.value(.contentLength) == nil)
    fields.add("content-length", "3")
    #expect(fields.value(.contentLength) == "3")
    #expect(!fields.isRepeated(.contentLength))
    fields.add(":authority", "b")
    fields.map.rename(0, toPseudo: .authority)
    #expect(fields.value(.authority) == "a")
    #expect(fields.value(.host) == nil)
    fields.release()
  }

  @Test("places beyond what is kept of them are found all the same")
  func farPlaces() {
    let fields = Fields()
    for index in 0..<300 { fields.add("x-\(index)", "") }
    fields.add("host", "far")
    fields.add("te", "trailers")
    #expect(fields.value(.host) == "far")
    #expect(fields.value(.te) == "trailers")
    fields.release()
  }

  @Test("a line that was put together before is a field like any other")
  func preparedLines() throws {
    let fields = Fields()
    let line = try #require(
      FieldLine.configured(Bytes("server"), id: .server, Bytes("fairlead")))
    fields.map.set(line, from: &fields.pool)
    fields.add("a", "1")
    #expect(lines(fields) == "server: fairlead\r\na: 1\r\n")
    fields.set("server", "other")
    fields.map.set(line, from: &fields.pool)
    fields.map.add(line, from: &fields.pool)
    #expect(fields.list == ["server: fairlead", "a: 1", "server: fairlead"])
    // Beyond the first block too.
    for _ in 0..<200 { fields.map.add(line, from: &fields.pool) }
    #expect(fields.list.count { $0 == "server: fairlead" } == 202)
    fields.release()
    #expect(fields.liveBytes == 0)
  }

  @Test("setting replaces the first and removes the others", arguments: ["cookie", "x-own"])
  func setting(name: String) {
    let fields = Fields()
    fields.set(name, "new")
    #expect(fields.list == ["\(name): new"])
    fields.add("a", "1")
    fields.add(name, "second")
    fields.add(name, "third")
    fields.set(name, "a longer value than before")
    #expect(fields.list == ["\(name): a longer value than before", "a: 1"])
    fields.release()
  }

  @Test(
    "removing takes every field of the name, and adding brings it back",
    arguments: ["cookie", "x-own"])
  func removing(name: String) {
    let fields = Fields()
    fields.add(name, "1")
    fields.add("b", "2")
    fields.add(name, "3")
    fields.map.remove(Bytes.immortal(name))
    #expect(fields.list == ["b: 2"])
    #expect(fields.value(name) == nil)
    fields.map.remove(Bytes.immortal(name))
    fields.add(name, "4")
    #expect(fields.list == ["b: 2", "\(name): 4"])
    fields.release()
  }

  @Test("appending joins with the separator, or adds")
  func appending() {
    let fields = Fields()
    fields.map.append(.xForwardedFor, separator: ", ", Bytes("1.1.1.1"), from: &fields.pool)
    fields.map.append(.xForwardedFor, separator: ", ", Bytes("2.2.2.2"), from: &fields.pool)
    #expect(fields.list == ["x-forwarded-for: 1.1.1.1, 2.2.2.2"])
    fields.release()
  }

  @Test("a map grows through every block size, and views into it may be its new values")
  func growth() {
    let fields = Fields()
    fields.add("x-first", "value of the first")
    for index in 0..<3000 {
      guard let value = fields.map[Bytes("x-first")] else {
        Issue.record("the first field stays")
        return
      }
      let name = Bytes.immortal("x-\(index)")
      fields.map.add(name, id: .other, value, from: &fields.pool)
    }
    #expect(!fields.overflowed)
    #expect(fields.map.count == 3001)
    for index in stride(from: 0, to: 3000, by: 97) {
      #expect(fields.value("x-\(index)") == "value of the first")
    }
    fields.release()
    #expect(fields.liveBytes == 0)
  }

  @Test("a set whose name is a view into the map survives the move")
  func nameFromMap() {
    let fields = Fields()
    fields.add("x-own", "1")
    fields.add("x-own", "2")
    let big = Bytes.immortal(String(repeating: "v", count: 3000))
    fields.map.set(fields.map.name(0), id: .other, big, from: &fields.pool)
    #expect(fields.map.count == 2)
    #expect(fields.list.count == 1)
    #expect(fields.value("x-own") == big.string)
    fields.release()
  }

  @Test("what does not fit the largest block is refused and told, and what was there stays")
  func overflow() {
    let fields = Fields()
    fields.add("a", "1")
    let huge = String(repeating: "h", count: 200_000)
    fields.add("x-one", huge)
    #expect(!fields.overflowed)
    fields.add("x-two", huge)
    #expect(fields.overflowed)
    #expect(fields.value("a") == "1")
    #expect(fields.value("x-two") == nil)
    #expect(Fields.copy(of: fields).overflowed)
    fields.release()
    #expect(!fields.overflowed)
    #expect(fields.liveBytes == 0)
  }

  @Test(
    "a head loads when its text and its table fit together",
    arguments: [(0, false), (10, false), (12_000, false), (16_000, false), (17_000, true)])
  func loading(count: Int, overflows: Bool) {
    let fields = Fields()
    let text = Bytes.immortal("ab")
    let entry = HeaderEntry(
      id: .other, nameOffset: 0, nameLength: 1, valueOffset: 1, valueLength: 1, isWritten: false)
    let entries = [HeaderEntry](repeating: entry, count: max(count, 1))
    entries.withUnsafeBufferPointer {
      guard let base = $0.baseAddress else { return }
      withUnsafePointer(to: HeaderPresence(of: [.other])) { known in
        fields.map.load(
          text, ParsedFields(base, count: count, known: known), from: &fields.pool)
      }
    }
    #expect(fields.overflowed == overflows)
    #expect(fields.map.count == (overflows ? 0 : count))
    if !overflows, count > 0 { #expect(fields.value("a") == "b") }
    fields.release()
    #expect(fields.liveBytes == 0)
  }

  /// The fields as HTTP/1.1 writes them.
  private func lines(_ fields: Fields) -> String {
    var memory = [UInt8](repeating: 0, count: 4096)
    return memory.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return "" }
      var out = ByteWriter(base: base, capacity: buffer.count)
      fields.map.writeLines(to: &out)
      return out.written.string
    }
  }

  @Test("lines are written in order, whatever was changed in between")
  func writing() {
    let fields = Fields()
    #expect(lines(fields) == "")
    fields.add(":path", "/")
    fields.add("a", "1")
    fields.add("b", "")
    fields.add("cookie", "c")
    #expect(lines(fields) == "a: 1\r\nb: \r\ncookie: c\r\n")
    fields.set("b", "longer")
    fields.map.append(.cookie, separator: "; ", Bytes("d"), from: &fields.pool)
    fields.add("e", "5")
    #expect(lines(fields) == "a: 1\r\nb: longer\r\ncookie: c; d\r\ne: 5\r\n")
    fields.map.remove(Bytes("a"))
    fields.map.remove(.cookie)
    #expect(lines(fields) == "b: longer\r\ne: 5\r\n")
    fields.release()
  }

  @Test("what came in another form leaves in ours", arguments: [true, false])
  func rewriting(isWritten: Bool) {
    let fields = Fields()
    // Beside it, one field whose line stands in the text as it must be written.
    let text = Bytes.immortal("host:\ta \r\nte: trailers\r\n")
    let entries = [
      HeaderEntry(
        id: .host, nameOffset: 0, nameLength: 4, valueOffset: 6, valueLength: 1, isWritten: false),
      HeaderEntry(
        id: .te, nameOffset: 10, nameLength: 2, valueOffset: 14, valueLength: 8,
        isWritten: isWritten),
    ]
    entries.withUnsafeBufferPointer {
      guard let base = $0.baseAddress else { return }
      withUnsafePointer(to: HeaderPresence(of: [.host, .te])) { known in
        fields.map.load(text, ParsedFields(base, count: 2, known: known), from: &fields.pool)
      }
    }
    #expect(lines(fields) == "host: a\r\nte: trailers\r\n")
    fields.map.rename(0, toPseudo: .authority)
    #expect(fields.value(.authority) == "a")
    #expect(fields.value(.host) == nil)
    #expect(fields.list == [":authority: a", "te: trailers"])
    #expect(lines(fields) == "te: trailers\r\n")
    fields.release()
  }

  @Test("removing a group takes its fields and no others")
  func removingGroups() {
    let fields = Fields()
    for name in ["te", "x-own", "x-envoy-internal", "cookie"] { fields.add(name, "1") }
    fields.map.remove(anyOf: .te | .envoyInternal | .upgrade)
    #expect(fields.list == ["x-own: 1", "cookie: 1"])
    let mayHaveRemoved = fields.map.mayHave(anyOf: .te | .envoyInternal)
    let mayHaveKept = fields.map.mayHave(anyOf: .te | .cookie)
    #expect(!mayHaveRemoved)
    #expect(mayHaveKept)
    fields.release()
  }

  @Test("a copy has the live fields and a life of its own")
  func copying() {
    let fields = Fields()
    fields.add("host", "a")
    fields.add("x-own", "b")
    fields.map.remove(.host)
    fields.add("te", "c")
    let copy = Fields.copy(of: fields)
    fields.set("x-own", "changed")
    fields.release()
    #expect(copy.map.count == 2)
    #expect(copy.value("x-own") == "b")
    #expect(copy.value(.te) == "c")
    #expect(copy.value(.host) == nil)
    copy.release()
    #expect(copy.liveBytes == 0)
  }

  @Test("random changes agree with a plain list", arguments: 1...20 as ClosedRange<UInt64>)
  func model(seed: UInt64) {
    var random = Random(seed: seed)
    let fields = Fields()
    var model: [(String, String)] = []
    let names = ["host", "cookie", "x-a", "x-b", "te", "x-forwarded-for"]
    for step in 0..<500 {
      let name = names[Int(random.next(below: UInt64(names.count)))]
      let value = String(repeating: "v", count: Int(random.next(below: 60))) + "\(step)"
      switch random.next(below: 3) {
      case 0:
        fields.add(name, value)
        model.append((name, value))
      case 1:
        fields.set(name, value)
        if let first = model.firstIndex(where: { $0.0 == name }) {
          model[first].1 = value
          model = model.enumerated().filter { $0.offset <= first || $0.element.0 != name }
            .map(\.element)
        } else {
          model.append((name, value))
        }
      default:
        fields.map.remove(Bytes.immortal(name))
        model.removeAll { $0.0 == name }
      }
      #expect(fields.list == model.map { "\($0): \($1)" })
      #expect(
        fields.map.writtenBytes == model.reduce(0) { $0 + $1.0.utf8.count + $1.1.utf8.count + 4 })
    }
    fields.release()
  }
}

@Suite("Well-known names")
struct HeaderIDTests {
  @Test("every name leads to its id and back", arguments: 1..<HeaderID.count)
  func roundTrip(raw: Int) {
    let id = HeaderID(rawValue: UInt8(raw))
    #expect(!id.name.isEmpty)
    #expect(HeaderID.of(id.name) == id)
    #expect(id.isPseudo == id.name.hasPrefix(Bytes(":")))
  }

  @Test("a name that differs in one byte is another name", arguments: 1..<HeaderID.count)
  func near(raw: Int) {
    let name = HeaderID(rawValue: UInt8(raw)).name.string
    for index in name.utf8.indices {
      var bytes = Array(name.utf8)
      bytes[name.utf8.distance(from: name.utf8.startIndex, to: index)] ^= 1
      let other = String(decoding: bytes, as: UTF8.self)
      let found = HeaderID.of(.immortal(other))
      #expect(found == .other || found.name.string == other)
    }
    #expect(HeaderID.of(.immortal(name + "x")).name.string != name)
    #expect(HeaderID.of(.immortal(String(name.dropLast()))).name.string != name)
  }

  @Test(
    "nothing and nonsense are other names",
    arguments: ["", "x", "zzzzzzzzzz", String(repeating: "a", count: 300)])
  func other(name: String) {
    #expect(HeaderID.of(.immortal(name)) == .other)
  }
}
