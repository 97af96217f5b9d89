import MeshModel
import Resources
import Telemetry

/// What was changed, when and by whom: a file for each change, the oldest taken away when there are too
/// many. It is also what makes a change of many objects one: the record is there before the first of their
/// files is touched, and whoever finds one that was not carried out carries it out.
struct ChangeHistory {
  /// How many records are kept unless it is said otherwise.
  static let standardLimit = 500
  /// Bytes of all records: a few changes of whole large meshes, and very many of small ones.
  static let bytes = 64 << 20

  private let directory: AppliedDirectory
  private let limit: Int
  /// Without contents, the oldest first.
  private(set) var records: [ChangeRecord] = []
  private var sizes: [UInt64: Int] = [:]

  init(of directory: AppliedDirectory, limit: Int = Self.standardLimit) {
    self.directory = directory
    self.limit = limit
  }

  /// The number of the next change.
  var next: UInt64 { (records.last?.revision ?? 0) + 1 }

  private var pending: String { directory.history + "/pending" }

  private func file(of revision: UInt64) -> String {
    let digits = String(revision)
    return directory.history + "/" + String(repeating: "0", count: max(0, 20 - digits.count))
      + digits
  }

  /// Reads what there is, and carries out what a process that ended too early has left.
  mutating func open() throws(FileError) {
    for name in MeshDirectory.names(in: directory.history)?.sorted() ?? [] {
      // Under another name it would not be found again, and somebody else has written it.
      guard let revision = UInt64(name), (1..<UInt64.max).contains(revision),
        file(of: revision) == directory.history + "/" + name
      else { continue }
      guard let record = read(directory.history + "/" + name), record.revision == revision else {
        ProcessLog.shared.warning(
          .config,
          "\(directory.history)/\(name): is no whole record of a change, and is passed over")
        continue
      }
      append(record)
    }
    guard PrivateFile.exists(pending) else { return }
    guard let record = read(pending) else {
      // The file took its place whole or not at all: somebody else has written it.
      throw FileError(message: "'\(pending)' is no whole record of a change; take it away")
    }
    ProcessLog.shared.warning(
      .config, "carrying out change \(record.revision), which was cut short")
    try finish(record)
  }

  private func read(_ path: String) -> ChangeRecord? {
    guard case .success(let bytes) = FileReader.read(path, atMost: 2 * Self.bytes) else {
      return nil
    }
    return ChangeRecord(bytes)
  }

  private mutating func append(_ record: ChangeRecord) {
    var bare = record
    sizes[record.revision] = record.bytes.count
    for index in bare.changes.indices {
      // What it was and is: a mark will do.
      bare.changes[index].before = record.changes[index].before.map { _ in [] }
      bare.changes[index].after = record.changes[index].after.map { _ in [] }
    }
    records.append(bare)
  }

  /// Makes a change: after this it is done, whatever happens to the process.
  mutating func commit(_ record: ChangeRecord) throws(FileError) {
    try directory.make()
    // What could be neither done nor undone when it was tried comes first.
    if PrivateFile.exists(pending), let left = read(pending) { try finish(left) }
    try PrivateFile.write(pending, record.bytes)
    var done = 0
    do throws(FileError) {
      for change in record.changes {
        try directory.carryOut([change])
        done += 1
      }
      try conclude(record)
    } catch {
      // Half of a change is something that nobody has asked for. What cannot be undone either is carried
      // out before the next change, or at the next start.
      try directory.carryOut(
        record.changes.prefix(done).map {
          ChangeRecord.Change(id: $0.id, before: $0.after, after: $0.before)
        })
      _ = PrivateFile.remove(pending)
      throw error
    }
  }

  private mutating func finish(_ record: ChangeRecord) throws(FileError) {
    try directory.carryOut(record.changes)
    try conclude(record)
  }

  /// All of it is done: it is history.
  private mutating func conclude(_ record: ChangeRecord) throws(FileError) {
    try PrivateFile.move(pending, over: file(of: record.revision))
    append(record)
    prune()
  }

  private mutating func prune() {
    var total = sizes.values.reduce(0, +)
    while records.count > 1, records.count > limit || total > Self.bytes {
      let oldest = records.removeFirst()
      total -= sizes.removeValue(forKey: oldest.revision) ?? 0
      _ = PrivateFile.remove(file(of: oldest.revision))
    }
  }

  /// The objects that were touched after a revision, as they were at it.
  func contents(at revision: UInt64) -> [ObjectID: [UInt8]?] {
    var found: [ObjectID: [UInt8]?] = [:]
    for record in records where record.revision > revision {
      guard let whole = read(file(of: record.revision)) else { continue }
      for change in whole.changes where found[change.id] == nil {
        found[change.id] = .some(change.before)
      }
    }
    return found
  }

  /// The last change of an object.
  func last(of id: ObjectID) -> ChangeRecord? {
    records.last { $0.changes.contains { $0.id == id } }
  }
}
