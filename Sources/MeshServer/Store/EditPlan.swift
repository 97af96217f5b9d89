import MeshModel
import Resources

/// What a request would change, looked at and not yet done.
struct EditPlan {
  /// One object's part.
  struct Step: Equatable {
    /// What becomes of an object, in kubectl's words.
    enum Outcome: String { case created, configured, unchanged, deleted }

    let id: ObjectID
    let outcome: Outcome
    var before: [UInt8]?
    var after: [UInt8]?
  }

  var steps: [Step] = []

  /// Those that change something.
  var changes: [ChangeRecord.Change] {
    steps.filter { $0.outcome != .unchanged }
      .map { ChangeRecord.Change(id: $0.id, before: $0.before, after: $0.after) }
  }
}

/// Why nothing was changed; each reason is a line.
struct EditRefusal: Error, Equatable {
  /// Of HTTP: 409 when somebody else was there first, 404 when there is no such thing, 422 when what was
  /// sent is wrong, 403 when it may not be done here, 500 when the disk would not have it.
  let status: Int
  let reasons: [String]

  init(_ status: Int, _ reasons: [String]) {
    self.status = status
    self.reasons = reasons
  }
}

/// A document that somebody sent, with the name that its sender's messages are to have.
struct SentFile: Equatable {
  let name: String
  let bytes: [UInt8]
}
