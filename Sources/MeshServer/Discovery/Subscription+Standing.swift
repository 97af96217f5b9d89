/// How far a client has come with one resource.
enum Standing: String, Equatable {
  /// It has said that it takes what there is now.
  case accepted
  /// It has not asked for it yet, though it will: what leads there has been sent, or is to be.
  case unasked
  /// What there is now has not been sent.
  case unsent
  /// It was sent, and there is no answer.
  case unanswered
  /// The client has refused it.
  case refused
}

extension Subscription {
  /// Whether the client has everything that it asks for as there is now, and has said so.
  /// - Parameter digests: of what there is now.
  func isSettled(at digests: [UInt64]) -> Bool {
    reached == digests && unsure.isEmpty && pending.isEmpty && !isAllPending && refused.isEmpty
      && !isAwaitingAnswer && !owesResponse
  }

  /// How far the client has come with a name.
  /// - Parameter hash: of the resource as it is now; nil when there is none of the name.
  func standing(of name: String, hash: UInt64?) -> Standing {
    guard isWildcard || names.contains(name) || sent[name] != nil else {
      return hash == nil ? .accepted : .unasked
    }
    let isSent =
      hash.map { sent[name] == $0 } ?? (sent[name] == nil || sent[name] == SentVersions.absent)
    guard isSent else { return .unsent }
    if pending.contains(name) || isAllPending && sent[name] != nil { return .unanswered }
    return refused.contains(name) ? .refused : .accepted
  }
}
