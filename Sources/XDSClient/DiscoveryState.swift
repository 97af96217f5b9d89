import Resources

/// Whether an answer says what there is, or what has changed.
package enum DiscoveryVariant {
  case stateOfTheWorld
  case delta
}

/// What a stream to a control plane knows of one kind of resources: what is asked for, what was last
/// accepted, and what the last answer was. It is told what happens and says what to send; it knows no
/// connection and no clock.
///
/// The rules are those of https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol.
struct DiscoveryState {
  /// Why a request is made.
  enum Occasion {
    /// What is asked for has changed, or a stream has begun.
    case change
    case acceptance
    case refusal(String)
  }

  let type: ResourceType
  let variant: DiscoveryVariant
  /// Everything of the kind is asked for, not what has a name.
  private(set) var isWildcard = false
  /// How many ask for each name.
  private var holders: [String: Int] = [:]
  /// State of the world: of the last answer that was accepted whole, on whichever stream.
  private var version = ""
  /// Delta: of the resources that are in force.
  private var versions: [String: String] = [:]
  /// Of the last answer on this stream; empty before the first.
  private var nonce = ""
  /// Something has been asked on this stream.
  private var hasAsked = false
  /// Delta: names that the server has not heard of, or not heard that they are not wanted any more.
  private var fresh: Set<String> = []
  private var stale: Set<String> = []

  init(_ type: ResourceType, _ variant: DiscoveryVariant) {
    self.type = type
    self.variant = variant
  }

  // MARK: What is wanted

  /// Somebody wants a resource, or, without a name, all. Says whether the server has to be told.
  mutating func add(_ name: String?) -> Bool {
    guard let name else {
      defer { isWildcard = true }
      return !isWildcard
    }
    let count = holders[name, default: 0] + 1
    holders[name] = count
    guard count == 1 else { return false }
    fresh.insert(name)
    stale.remove(name)
    return true
  }

  /// Undoes one `add`; a wildcard stays. Says whether the server has to be told.
  mutating func remove(_ name: String?) -> Bool {
    guard let name, let count = holders[name] else { return false }
    guard count == 1 else {
      holders[name] = count - 1
      return false
    }
    holders[name] = nil
    versions[name] = nil
    fresh.remove(name)
    stale.insert(name)
    return true
  }

  // MARK: What happens

  /// A stream has begun, on which the server knows nothing of us.
  mutating func streamBegan() {
    nonce = ""
    hasAsked = false
    fresh = Set(holders.keys)
    stale = []
  }

  /// An answer has come and been looked at. The next request says so.
  /// - Parameters:
  ///   - isAccepted: nothing of it is refused.
  ///   - inForce: the versions of its resources that were taken over, by name.
  mutating func received(_ answer: DiscoveryAnswer, isAccepted: Bool, inForce: [String: String]) {
    nonce = answer.nonce
    switch variant {
    case .stateOfTheWorld:
      if isAccepted { version = answer.version }
    case .delta:
      for name in answer.removed { versions[name] = nil }
      for (name, version) in inForce where isWildcard || holders[name] != nil {
        versions[name] = version
      }
    }
  }

  /// A resource is gone because its time is over.
  mutating func expired(_ name: String) { versions[name] = nil }

  /// Resources are in force that an earlier process has kept: whoever says what has changed has to know
  /// which.
  mutating func restored(_ inForce: [String: String]) {
    guard variant == .delta else { return }
    versions.merge(inForce) { current, _ in current }
  }

  /// Somebody asks for the name.
  func isHeld(_ name: String) -> Bool { holders[name] != nil }

  /// The names that somebody asks for.
  var heldNames: Dictionary<String, Int>.Keys { holders.keys }

  /// The request that tells the server where we stand; nil when there is nothing to say.
  mutating func request(_ occasion: Occasion) -> DiscoveryRequest? {
    // To ask for nothing, on a stream that has heard of nothing yet, would be to ask for all.
    guard isWildcard || !holders.isEmpty || hasAsked else { return nil }
    let isFirst = !hasAsked
    var request = DiscoveryRequest(type: type)
    if case .refusal(let reason) = occasion { request.refusal = reason }
    switch variant {
    case .stateOfTheWorld:
      request.version = version
      request.nonce = nonce
      request.names = holders.keys.sorted()
    case .delta:
      // Only an answer to an answer has a nonce.
      if case .change = occasion {
        guard isFirst || !fresh.isEmpty || !stale.isEmpty else { return nil }
      } else {
        request.nonce = nonce
      }
      request.names = fresh.sorted()
      request.unwanted = stale.sorted()
      if isFirst { request.known = versions }
    }
    fresh = []
    stale = []
    hasAsked = true
    return request
  }
}

extension ResourceType {
  /// The type as requests name it.
  package var url: String { "type.googleapis.com/" + rawValue }

  /// The order in which a stream asks: what others refer to comes first, as in Envoy.
  static let inOrder: [ResourceType] = [
    .clusters, .endpoints, .listeners, .routes, .secrets, .extensions,
  ]
}
