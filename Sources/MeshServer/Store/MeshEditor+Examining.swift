import MeshModel
import Resources

/// What somebody has sent, held against what there is, with nothing changed.
extension MeshEditor {
  /// An object as it would be.
  struct Examined {
    let id: ObjectID
    let object: MeshObject
    let outcome: EditPlan.Step.Outcome
    /// That the object in force has when it is this one.
    let digests: Set<String>
  }

  /// Reads documents as if they took the place of what there is, in whatever file that is.
  func examine(_ sent: [SentFile], namespace: String?) throws(EditRefusal) -> [Examined] {
    var examined: [Examined] = []
    var problems: [String] = []
    for document in try Self.documents(sent) {
      let reading = store.read(document, defaultNamespace: namespace ?? "default")
      problems += reading.diagnostics.filter { $0.severity == .error }.map(\.description)
      guard let id = reading.id, var object = reading.object else { continue }
      let present = store.entries[id]?.object
      // As old as what it takes the place of: age settles conflicts.
      if let aged = aged(document, id) { object = aged }
      object.sequence = present?.sequence ?? UInt64.max
      let digests = digests(of: document, id)
      let outcome: EditPlan.Step.Outcome =
        present.map { digests.contains($0.digest) ? .unchanged : .configured } ?? .created
      examined.append(Examined(id: id, object: object, outcome: outcome, digests: digests))
    }
    guard problems.isEmpty else { throw EditRefusal(422, problems) }
    guard !examined.isEmpty else { throw EditRefusal(422, ["there is no object in what was sent"]) }
    return examined
  }

  /// The objects of documents, with the digests that they have when they are in force: as they stand
  /// there, or as they are kept once they have been applied.
  func expected(
    _ sent: [SentFile], namespace: String?
  ) throws(EditRefusal) -> [(id: ObjectID, digests: Set<String>?)] {
    try examine(sent, namespace: namespace).map { ($0.id, $0.digests) }
  }

  /// Of what stands in a document.
  private func digests(of document: ObjectDocument, _ id: ObjectID) -> Set<String> {
    let plain = ObjectReader.read(document, defaultNamespace: id.namespace).object?.digest
    return Set([plain, aged(document, id)?.digest].compactMap(\.self))
  }

  /// The object as it is read once it was applied in the place of the present one.
  private func aged(_ document: ObjectDocument, _ id: ObjectID) -> MeshObject? {
    guard let created = ObjectForm.created(written(id)?.value) else { return nil }
    let kept = ObjectForm.kept(document.value, as: id, created: created)
    guard
      let again = try? ObjectFile.read(Array(kept.yaml.utf8), name: document.file).first
    else { return nil }
    return ObjectReader.read(again, defaultNamespace: id.namespace).object
  }
}
