import Resources
import Telemetry

/// The objects of a set of files, and what is wrong with those files. A bad object never takes effect:
/// the one that stood before stands, and what is wrong is kept beside it. A file that cannot be read at
/// all leaves everything as it was that was read from it.
package struct MeshStore {
  /// What is known of one object.
  package struct Entry {
    /// The last good one; nil if there has been none.
    package fileprivate(set) var object: MeshObject?
    /// Of the newest one, good or not.
    package fileprivate(set) var diagnostics: [Diagnostic]

    /// The newest one did not take effect.
    package var isRefused: Bool { diagnostics.contains { $0.severity == .error } }
  }

  private struct File {
    var digest: String
    /// The objects of the file, those it lacks names for left out.
    var ids: [ObjectID] = []
    /// Of the file as a whole, and of objects without a name.
    var diagnostics: [Diagnostic] = []
  }

  private var files: [String: File] = [:]
  package private(set) var entries: [ObjectID: Entry] = [:]
  private var owners: [ObjectID: String] = [:]
  private var lastSequence: UInt64 = 0
  private let check: @Sendable (MeshObject, ReadObject) -> Void

  /// - Parameter check: looks at an object that could be read, and reports what is wrong with it.
  package init(check: @escaping @Sendable (MeshObject, ReadObject) -> Void = { _, _ in }) {
    self.check = check
  }

  /// The objects in force.
  package var objects: [MeshObject] { entries.values.compactMap(\.object) }

  /// Everything that is wrong or doubtful now, in the order of files and lines.
  package var diagnostics: [Diagnostic] {
    (files.values.flatMap(\.diagnostics) + entries.values.flatMap(\.diagnostics))
      .sorted { ($0.file, $0.line, $0.column) < ($1.file, $1.line, $1.column) }
  }

  /// What is wrong with no object in particular: files that cannot be read, objects without a name.
  package var fileDiagnostics: [Diagnostic] {
    files.values.flatMap(\.diagnostics)
      .sorted { ($0.file, $0.line, $0.column) < ($1.file, $1.line, $1.column) }
  }

  /// The file in which an object is written.
  package func file(of id: ObjectID) -> String? { owners[id] }

  /// The objects of a file.
  package func objects(in file: String) -> [ObjectID] { files[file]?.ids ?? [] }

  /// Reads an object as it is read from a file, with everything that would be said of it there.
  package func read(
    _ document: ObjectDocument, defaultNamespace: String = "default"
  ) -> (id: ObjectID?, object: MeshObject?, diagnostics: [Diagnostic]) {
    let reading = ObjectReader.read(document, defaultNamespace: defaultNamespace)
    if let object = reading.object, let read = reading.read { check(object, read) }
    return (reading.id, reading.object, reading.read?.diagnostics.all ?? reading.diagnostics)
  }

  /// Takes over the present content of all files; returns what has changed: objects that came, changed
  /// in content, or went.
  package mutating func update(_ contents: [String: [UInt8]]) -> Set<ObjectID> {
    var changed: Set<ObjectID> = []
    for gone in Set(files.keys).subtracting(contents.keys).sorted() {
      for id in files[gone]?.ids ?? [] where owners[id] == gone { remove(id, &changed) }
      files[gone] = nil
    }
    // In the order of their names, so that of two objects with one name the same one always wins.
    for (name, bytes) in contents.sorted(by: { $0.key < $1.key }) {
      let digest = XXHash64.hexadecimal(bytes)
      guard files[name]?.digest != digest else { continue }
      take(bytes, of: name, digest, &changed)
    }
    return changed
  }

  private mutating func take(
    _ bytes: [UInt8], of name: String, _ digest: String, _ changed: inout Set<ObjectID>
  ) {
    var file = File(digest: digest)
    let documents: [ObjectDocument]
    do throws(ObjectFile.Unreadable) {
      documents = try ObjectFile.read(bytes, name: name)
    } catch {
      file.ids = files[name]?.ids ?? []
      file.diagnostics = [error.diagnostic]
      files[name] = file
      return
    }
    // A file may have a hundred thousand.
    var seen: Set<ObjectID> = []
    for document in documents {
      let reading = ObjectReader.read(document)
      guard let id = reading.id else {
        file.diagnostics += reading.diagnostics
        continue
      }
      if seen.contains(id) || (owners[id].map { $0 != name } ?? false) {
        let other = owners[id].map { $0 == name ? "this file" : "'\($0)'" } ?? "this file"
        file.diagnostics.append(
          document.mistake(at: "metadata", "there is already a \(id) in \(other)"))
        // Read again next time: the other one may be gone then.
        file.digest = ""
        continue
      }
      file.ids.append(id)
      seen.insert(id)
      owners[id] = name
      accept(reading, as: id, &changed)
    }
    for id in files[name]?.ids ?? [] where !seen.contains(id) && owners[id] == name {
      remove(id, &changed)
    }
    files[name] = file
  }

  private mutating func accept(
    _ reading: ObjectReader.Reading, as id: ObjectID, _ changed: inout Set<ObjectID>
  ) {
    if let object = reading.object, let read = reading.read { check(object, read) }
    let diagnostics = reading.read?.diagnostics.all ?? reading.diagnostics
    let isGood = !diagnostics.contains { $0.severity == .error }
    let before = entries[id]?.object
    guard isGood, var object = reading.object else {
      entries[id] = Entry(object: before, diagnostics: diagnostics)
      return
    }
    if let before {
      object.sequence = before.sequence
    } else {
      lastSequence += 1
      object.sequence = lastSequence
    }
    if before?.digest != object.digest { changed.insert(id) }
    entries[id] = Entry(object: object, diagnostics: diagnostics)
  }

  private mutating func remove(_ id: ObjectID, _ changed: inout Set<ObjectID>) {
    if entries[id]?.object != nil { changed.insert(id) }
    entries[id] = nil
    owners[id] = nil
  }
}
