import Glibc
import MeshModel
import Resources
import Testing

@testable import MeshServer

@Suite("The history of changes")
struct ChangeHistoryTests {
  /// A directory of its own, and what is in it.
  private struct Place {
    let directory: AppliedDirectory

    init() throws {
      var template = Array("/tmp/fairlead-history-XXXXXX".utf8CString)
      let made = unsafe template.withUnsafeMutableBufferPointer { buffer -> String? in
        guard let base = buffer.baseAddress, let name = unsafe mkdtemp(base) else { return nil }
        return unsafe String(cString: name)
      }
      directory = AppliedDirectory(path: try #require(made))
    }

    func text(_ name: String) -> String? {
      let path = directory.file(of: ObjectID(.gateway, "default", name))
      guard case .success(let bytes) = FileReader.read(path, atMost: 1000) else { return nil }
      return String(decoding: bytes, as: UTF8.self)
    }
  }

  private func change(_ name: String, _ before: String?, _ after: String?) -> ChangeRecord.Change {
    .init(
      id: ObjectID(.gateway, "default", name), before: before.map { Array($0.utf8) },
      after: after.map { Array($0.utf8) })
  }

  private func record(_ revision: UInt64, _ changes: ChangeRecord.Change...) -> ChangeRecord {
    ChangeRecord(revision: revision, time: 1, author: "a", action: "apply", changes: changes)
  }

  @Test("whatever an author is called, the record is read back")
  func author() {
    for author in ["a", "", "\u{301}x", "\u{200D}"] {
      let made = ChangeRecord(
        revision: 1, time: 1, author: author, action: "apply", changes: [change("a", nil, "A")])
      #expect(
        ChangeRecord(made.bytes)?.author.unicodeScalars.elementsEqual(author.unicodeScalars) == true
      )
    }
  }

  @Test("a change that was cut short is carried out at the next start")
  func cutShort() throws {
    let place = try Place()
    try place.directory.make()
    // The record is there, and one of its two files.
    let cut = record(1, change("a", nil, "A"), change("b", nil, "B"))
    try PrivateFile.write(place.directory.history + "/pending", cut.bytes)
    try PrivateFile.write(place.directory.file(of: cut.changes[0].id), Array("A".utf8))
    var history = ChangeHistory(of: place.directory)
    try history.open()
    #expect(place.text("a") == "A")
    #expect(place.text("b") == "B")
    #expect(history.records.map(\.revision) == [1])
    #expect(history.next == 2)
    var again = ChangeHistory(of: place.directory)
    try again.open()
    #expect(again.records == history.records)
  }

  @Test("what was before a revision is known as long as its records are kept")
  func contents() throws {
    let place = try Place()
    var history = ChangeHistory(of: place.directory, limit: 3)
    try history.commit(record(1, change("a", nil, "1")))
    try history.commit(record(2, change("a", "1", "2"), change("b", nil, "x")))
    try history.commit(record(3, change("a", "2", nil)))
    let a = ObjectID(.gateway, "default", "a")
    let b = ObjectID(.gateway, "default", "b")
    #expect(place.text("a") == nil)
    #expect(history.contents(at: 2) == [a: Array("2".utf8)])
    #expect(history.contents(at: 1) == [a: Array("1".utf8), b: nil])
    #expect(history.contents(at: 0) == [a: nil, b: nil])
    try history.commit(record(4, change("b", "x", "y")))
    #expect(history.records.map(\.revision) == [2, 3, 4])
    #expect(!PrivateFile.exists(place.directory.history + "/00000000000000000001"))
    #expect(history.last(of: a)?.revision == 3)
  }

  @Test("a change that cannot be written leaves everything as it was")
  func unwritable() throws {
    let place = try Place()
    var history = ChangeHistory(of: place.directory)
    try history.commit(record(1, change("a", nil, "1")))
    // A directory stands where the second file would.
    let obstacle = place.directory.file(of: ObjectID(.gateway, "default", "b"))
    try PrivateFile.makeDirectory(obstacle)
    #expect(throws: FileError.self) {
      try history.commit(record(2, change("a", "1", "2"), change("b", nil, "x")))
    }
    #expect(place.text("a") == "1")
    #expect(history.next == 2)
    #expect(!PrivateFile.exists(place.directory.history + "/pending"))
  }

  @Test("what is no record of a change is passed over")
  func foreign() throws {
    let place = try Place()
    var history = ChangeHistory(of: place.directory)
    try history.commit(record(1, change("a", nil, "1")))
    try PrivateFile.write(place.directory.history + "/00000000000000000002", Array("x".utf8))
    var again = ChangeHistory(of: place.directory)
    try again.open()
    #expect(again.records.map(\.revision) == [1])
  }
}
