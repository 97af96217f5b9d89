/// What one stream wants of one type of resource, and what it has been sent.
struct Subscription {
  /// All resources of the type, and not by name.
  private(set) var isWildcard = false
  /// Those named.
  private(set) var names: Set<String> = []
  /// What the client has or is about to have. A version that it refused stays here, so that it is not
  /// sent again before it has changed.
  private(set) var sent = SentVersions()
  /// The digests of everything there was when the client had all of it; nil: it has to be compared.
  private(set) var reached: [UInt64]?
  /// Names that may be missing in what the client has, whether they have changed since or not.
  private(set) var unsure: Set<String> = []
  /// The nonce of the last response; empty before the first.
  var nonce = ""
  /// The last response has been neither accepted nor refused: changes wait until it has, so that a slow
  /// client gets one response for many changes.
  var isAwaitingAnswer = false
  /// Of the last response.
  var sentVersion = ""
  /// The nonce of the last response that the client has accepted, and its version.
  private(set) var acceptedNonce = ""
  private(set) var acceptedVersion = ""
  /// Why the client refused the last response that it has spoken of; nil when it accepted it.
  private(set) var refusal: String?
  /// The client's question is not answered yet, even if there is nothing to say.
  var owesResponse = false

  /// Names in the last response, until the client has spoken of it.
  private(set) var pending: Set<String> = []
  /// Everything that the client has or is about to have is in it: its names are not listed once more.
  private(set) var isAllPending = false
  /// Names in responses that the client has refused, and which it has not accepted since.
  private(set) var refused: Set<String> = []

  /// The client has spoken of the last response.
  /// - Parameter isWhole: that one held everything that there is.
  mutating func noteAnswer(_ refusal: String?, isWhole: Bool) {
    self.refusal = refusal
    if refusal != nil { refused.formUnion(isAllPending ? Set(sent.names) : pending) }
    defer {
      pending = []
      isAllPending = false
    }
    guard refusal == nil else { return }
    refused = isWhole || isAllPending ? [] : refused.subtracting(pending)
    acceptedNonce = nonce
    acceptedVersion = sentVersion
  }

  // MARK: What it has

  /// The client may have nothing of this any more, or what it says that it has.
  mutating func forget(keeping known: SentVersions = SentVersions()) {
    sent = known
    reached = nil
  }

  /// Some of it is to be sent again.
  mutating func forget(_ names: some Sequence<String>) {
    for name in names where sent[name] != nil {
      sent[name] = nil
      unsure.insert(name)
    }
  }

  /// A response is on its way.
  mutating func note(_ resources: [ServedResource], removed: [String]) {
    for resource in resources { sent.note(resource) }
    for name in removed { sent[name] = names.contains(name) ? SentVersions.absent : nil }
    isAllPending = removed.isEmpty && !resources.isEmpty && resources.count == sent.count
    pending = isAllPending ? [] : Set(resources.map(\.name)).union(removed)
  }

  /// With what was sent, the client has all of this.
  mutating func reach(_ digests: [UInt64]) {
    reached = digests
    unsure = []
  }

  mutating func setWildcard(_ isWildcard: Bool) {
    if isWildcard != self.isWildcard { reached = nil }
    self.isWildcard = isWildcard
  }

  /// The client names what it wants besides what it has named before; names that are new to us have
  /// not been sent.
  mutating func add(_ wanted: some Sequence<String>) {
    for name in wanted {
      names.insert(name)
      sent[name] = nil
      unsure.insert(name)
    }
  }

  mutating func remove(_ unwanted: some Sequence<String>) {
    for name in unwanted {
      names.remove(name)
      if !isWildcard { sent[name] = nil }
    }
  }

  /// What the client should have, of what there is.
  func wanted(_ type: String, in set: ResourceSet) -> [ServedResource] {
    guard isWildcard else { return names.sorted().compactMap { set.answer(of: type, for: $0) } }
    return set.all(of: type)
  }
}

/// A response to be sent.
struct Push: Equatable {
  let type: String
  let nonce: String
  /// Of everything in the response.
  let version: String
  let resources: [ServedResource]
  /// Names that there are not, or not any more. Only delta streams hear of them by name.
  var removed: [String] = []
}

/// What a client says on a stream, of one type.
struct StreamRequest {
  var type = ""
  var nonce = ""
  /// Why the client refuses the response of that nonce.
  var refusal: String?
  /// State of the world: all names that the client wants. Delta: those it wants besides.
  var names: [String] = []
  /// Delta: names that it does not want any more.
  var unwanted: [String] = []
  /// Delta: what the client has from an earlier stream, by name and version.
  var known: [String: String] = [:]
}

/// How a request was understood, for the log.
enum RequestMeaning: Equatable {
  /// A first question, on this stream, or names that are new.
  case subscription
  case acceptance
  case refusal
  /// It speaks of a response that is not the latest.
  case stale
}

/// The client breaks a rule or a bound; the stream ends.
struct StreamViolation: Error, Equatable {
  let description: String
}
