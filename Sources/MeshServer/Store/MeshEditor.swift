import AdminHTTP
import CLinux
import MeshModel
import Resources
import Telemetry

/// Changes the objects of a followed directory for whoever asks over HTTP. What is written in a user's own
/// file is the user's to change; everything else has a file in `AppliedDirectory`, and goes the same way
/// from there as whatever else stands in files. Belongs to one loop.
final class MeshEditor {
  private let folder: MeshFolder
  /// Nil: there is no place where objects could be kept.
  private let applied: AppliedDirectory?
  private(set) var history: ChangeHistory?
  /// Takes over what stands in the files now.
  var reload: () -> Void = {}

  init(_ folder: MeshFolder, historyLimit: Int) {
    self.folder = folder
    applied = folder.dataDirectory.map { AppliedDirectory(path: $0) }
    history = applied.map { ChangeHistory(of: $0, limit: historyLimit) }
  }

  var store: MeshStore { folder.store }

  /// Carries out what an earlier process has left. Before anything is read.
  func open() throws(ControlPlane.StartError) {
    guard var history, let applied, PrivateFile.exists(applied.history) else { return }
    do throws(FileError) {
      try history.open()
      self.history = history
    } catch {
      throw ControlPlane.StartError(reasons: ["error: \(error.message)"])
    }
  }

  // MARK: Plans

  /// What it would be to have these documents in force. All of them or, for one mistake, none.
  /// - Parameter namespace: of objects that name none; those that name another are refused, if it is
  ///   given.
  func planApply(_ sent: [SentFile], namespace: String?) throws(EditRefusal) -> EditPlan {
    let documents = try Self.documents(sent)
    guard !documents.isEmpty else {
      throw EditRefusal(422, ["there is no object in what was sent"])
    }
    var problems: [String] = []
    var conflicts: [String] = []
    var plan = EditPlan()
    var planned: Set<ObjectID> = []
    for document in documents {
      let reading = store.read(document, defaultNamespace: namespace ?? "default")
      problems += reading.diagnostics.filter { $0.severity == .error }.map(\.description)
      guard let id = reading.id, reading.object != nil else { continue }
      if let problem = Self.problem(document, id, namespace, planned) {
        problems.append(problem)
        continue
      }
      do throws(EditRefusal) {
        plan.steps.append(try step(document, id))
        planned.insert(id)
      } catch {
        if error.status == 422 { problems += error.reasons } else { conflicts += error.reasons }
      }
    }
    guard problems.isEmpty else { throw EditRefusal(422, problems + conflicts) }
    guard conflicts.isEmpty else { throw EditRefusal(409, conflicts) }
    try check(plan, sent)
    return plan
  }

  static func documents(_ sent: [SentFile]) throws(EditRefusal) -> [ObjectDocument] {
    var documents: [ObjectDocument] = []
    var problems: [String] = []
    for file in sent {
      do throws(ObjectFile.Unreadable) {
        documents += try ObjectFile.read(file.bytes, name: file.name)
      } catch {
        problems.append(error.diagnostic.description)
      }
    }
    guard problems.isEmpty else { throw EditRefusal(422, problems) }
    return documents
  }

  private static func problem(
    _ document: ObjectDocument, _ id: ObjectID, _ namespace: String?, _ planned: Set<ObjectID>
  ) -> String? {
    if let problem = AppliedDirectory.problem(with: id) {
      return document.mistake(inMetadata: problem.field, problem.text).description
    }
    if let namespace, !id.kind.isClusterWide, id.namespace != namespace {
      return document.mistake(
        inMetadata: "namespace",
        "'\(id.namespace)' is not the namespace '\(namespace)' that was asked for"
      ).description
    }
    if planned.contains(id) {
      return document.mistake(inMetadata: "name", "there is already a \(id) in what was sent")
        .description
    }
    return nil
  }

  /// What one document would do.
  private func step(_ document: ObjectDocument, _ id: ObjectID) throws(EditRefusal) -> EditPlan.Step
  {
    let before = try content(of: id)
    let value = document.value
    if let version = value["metadata"]?["resourceVersion"]?.text, !version.isEmpty {
      try expect(version, of: id)
    }
    let old = before.flatMap { ObjectForm.find(id, in: $0, named: "") }?.value
    let created =
      ObjectForm.created(old) ?? ObjectForm.created(value)
      ?? RFC3339.text(nanoseconds: fl_realtime_ns())
    let after = Array(ObjectForm.kept(value, as: id, created: created).yaml.utf8)
    let outcome: EditPlan.Step.Outcome =
      before == nil ? .created : before == after ? .unchanged : .configured
    return EditPlan.Step(id: id, outcome: outcome, before: before, after: after)
  }

  /// What it would be to have these objects no more.
  /// - Parameter versions: what they have to be now, where somebody says so.
  func planDelete(
    _ ids: [ObjectID], versions: [ObjectID: String] = [:], ignoresMissing: Bool = false
  ) throws(EditRefusal) -> EditPlan {
    var plan = EditPlan()
    var missing: [String] = []
    for id in ids {
      guard store.entries[id] != nil else {
        if !ignoresMissing { missing.append("there is no \(id)") }
        continue
      }
      if let version = versions[id] { try expect(version, of: id) }
      plan.steps.append(
        EditPlan.Step(id: id, outcome: .deleted, before: try content(of: id), after: nil))
    }
    guard missing.isEmpty else { throw EditRefusal(404, missing) }
    try check(plan, [])
    return plan
  }

  /// The objects of documents, for whoever deletes by file.
  func identify(_ sent: [SentFile], namespace: String?) throws(EditRefusal) -> [ObjectID] {
    var ids: [ObjectID] = []
    var seen: Set<ObjectID> = []
    for document in try Self.documents(sent) {
      guard let id = ObjectReader.identify(document, defaultNamespace: namespace ?? "default")
      else {
        throw EditRefusal(422, [document.mistake("an object has a kind and a name").description])
      }
      if seen.insert(id).inserted { ids.append(id) }
    }
    return ids
  }

  /// What it would be to have everything, or one object, as it was after a change.
  /// - Parameter revision: nil for the one before an object's last change.
  func planRollback(to wanted: UInt64?, of id: ObjectID?) throws(EditRefusal) -> EditPlan {
    guard let history, let newest = history.records.last?.revision else {
      throw EditRefusal(404, ["nothing has been changed here yet"])
    }
    var revision = wanted
    if revision == nil, let id { revision = history.last(of: id).map { $0.revision - 1 } }
    guard let revision else {
      throw EditRefusal(404, [id.map { "there is no change of \($0)" } ?? "say to which revision"])
    }
    let oldest = (history.records.first?.revision ?? 1) - 1
    guard (oldest...newest).contains(revision) else {
      throw EditRefusal(
        404, ["no revision \(revision) is known; those from \(oldest) to \(newest) are"])
    }
    var plan = EditPlan()
    for (touched, content) in history.contents(at: revision).sorted(by: { $0.key < $1.key })
    where id == nil || touched == id {
      let before = try self.content(of: touched)
      let outcome: EditPlan.Step.Outcome =
        before == content
        ? .unchanged : before == nil ? .created : content == nil ? .deleted : .configured
      plan.steps.append(
        EditPlan.Step(id: touched, outcome: outcome, before: before, after: content))
    }
    try check(plan, [])
    return plan
  }

  /// What is kept of an object; nil when there is none of it.
  private func content(of id: ObjectID) throws(EditRefusal) -> [UInt8]? {
    guard let applied else {
      throw EditRefusal(
        403,
        ["there is no place to keep objects: give fairlead-control a directory, or --data-dir"])
    }
    let file = applied.file(of: id)
    guard let owner = store.file(of: id) else { return nil }
    guard owner == file, store.objects(in: owner) == [id] else {
      throw EditRefusal(409, ["\(id) is written in '\(owner)': change it there"])
    }
    return folder.files[file]
  }

  private func expect(_ version: String, of id: ObjectID) throws(EditRefusal) {
    let present = store.entries[id]?.object?.digest
    guard present != version else { return }
    throw EditRefusal(
      409,
      [
        "\(id) has changed: it is now of resourceVersion \(present.map { "'\($0)'" } ?? "none"), and "
          + "'\(version)' was expected; look at it again"
      ])
  }

  /// Reads everything as it would be then: what is said of an object in the company of all others
  /// counts as well.
  private func check(_ plan: EditPlan, _ sent: [SentFile]) throws(EditRefusal) {
    let trial = store(after: plan)
    var problems: [String] = []
    for step in plan.steps {
      guard let after = step.after else { continue }
      // A file that cannot be read leaves what stood before, until the next start.
      guard let entry = trial.entries[step.id], (try? ObjectFile.read(after, name: "")) != nil
      else {
        problems.append("\(step.id) would not be read again")
        continue
      }
      problems += entry.diagnostics.filter { $0.severity == .error }
        .map { "\(step.id): \($0.path.isEmpty ? "" : $0.path + ": ")\($0.message)" }
    }
    guard problems.isEmpty else { throw EditRefusal(422, problems) }
  }

  /// All objects, as they would be.
  func store(after plan: EditPlan) -> MeshStore {
    var trial = store
    guard let applied else { return trial }
    var files = folder.files
    for step in plan.steps { files[applied.file(of: step.id)] = step.after }
    _ = trial.update(files)
    return trial
  }

  // MARK: Doing it

  /// Does it; the number of the change, or nil when there was nothing to do.
  func carryOut(_ plan: EditPlan, author: String, action: String) throws(EditRefusal) -> UInt64? {
    let changes = plan.changes
    guard !changes.isEmpty, var history else { return nil }
    let record = ChangeRecord(
      revision: history.next, time: fl_realtime_ns(), author: author, action: action,
      changes: changes)
    // The files may have been touched even if that fails.
    defer { reload() }
    do throws(FileError) {
      try history.commit(record)
      self.history = history
    } catch {
      throw EditRefusal(500, [error.message])
    }
    let words = changes.map { "\($0.id) \($0.outcome)" }
    let more = words.count > 10 ? " and \(words.count - 10) more" : ""
    ProcessLog.shared.info(
      .config,
      "change \(record.revision) (\(action)) by \(author): "
        + words.prefix(10).joined(separator: ", ") + more)
    return record.revision
  }

  // MARK: Looking

  /// What is written of an object, and where; nil when nothing is.
  func written(_ id: ObjectID) -> (value: ObjectValue, file: String)? {
    guard let file = store.file(of: id), let bytes = folder.files[file],
      let document = ObjectForm.find(id, in: bytes, named: file)
    else { return nil }
    return (document.value, file)
  }

  /// All objects that are written in files, by file, each read once.
  func allWritten() -> [ObjectID: (value: ObjectValue, file: String)] {
    var found: [ObjectID: (value: ObjectValue, file: String)] = [:]
    for (name, bytes) in folder.files {
      guard let documents = try? ObjectFile.read(bytes, name: name) else { continue }
      for document in documents {
        guard let id = ObjectReader.identify(document), store.file(of: id) == name else { continue }
        found[id] = (document.value, name)
      }
    }
    return found
  }

  /// Whether an object was applied, and is not from a user's own file.
  func isApplied(_ id: ObjectID) -> Bool {
    guard let applied, let owner = store.file(of: id) else { return false }
    return owner == applied.file(of: id)
  }
}
