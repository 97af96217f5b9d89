import Telemetry

/// One stream's side of the xDS protocol, in either variant: told what the client says and what there
/// is to serve, it says what to send. It knows no connection and no clock.
///
/// The rules are those of https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol, and where
/// that leaves a choice, Istio's.
struct StreamState {
  /// Whether a response holds everything that there is, or what has changed.
  enum Variant {
    case stateOfTheWorld
    case delta
  }

  let variant: Variant
  private(set) var subscriptions: [String: Subscription] = [:]
  private var nameCount = 0
  private var lastNonce: UInt64 = 0

  init(_ variant: Variant) { self.variant = variant }

  // MARK: What happens

  /// The client has sent a request. Returns what to send, in order.
  mutating func take(
    _ request: StreamRequest, of set: ResourceSet
  ) throws(StreamViolation) -> (RequestMeaning, [Push]) {
    guard subscriptions[request.type] != nil || subscriptions.count < MeshLimits.typesPerStream
    else { throw StreamViolation(description: "more than \(MeshLimits.typesPerStream) types") }
    var subscription = subscriptions[request.type] ?? Subscription()
    let countBefore = subscription.names.count
    let meaning =
      variant == .delta
      ? takeDelta(request, &subscription, set) : takeWorld(request, &subscription)
    nameCount += subscription.names.count - countBefore
    guard nameCount <= MeshLimits.namesPerStream else {
      throw StreamViolation(description: "more than \(MeshLimits.namesPerStream) names")
    }
    subscriptions[request.type] = subscription
    return (meaning, meaning == .stale ? [] : pushes(of: set))
  }

  /// There is something else to serve. Returns what to send, in order.
  mutating func publish(_ set: ResourceSet) -> [Push] { pushes(of: set) }

  // MARK: Requests

  private func takeWorld(
    _ request: StreamRequest, _ subscription: inout Subscription
  ) -> RequestMeaning {
    let isFirst = subscription.nonce.isEmpty
    // A later response is on its way: the client will speak of that one, with all its names.
    guard isFirst || request.nonce.isEmpty || request.nonce == subscription.nonce else {
      return .stale
    }
    let wanted = Set(request.names.filter { $0 != "*" })
    let isNew = isFirst || request.nonce.isEmpty
    // Whoever names nothing at first wants all; later, nothing (unless all is what it wanted).
    if request.names.contains("*") {
      subscription.isWildcard = true
    } else if isFirst, ResourceSet.TypeURL.wildcard.contains(request.type) {
      subscription.isWildcard = wanted.isEmpty
    } else if !wanted.isEmpty {
      subscription.isWildcard = false
    }
    let added = wanted.subtracting(subscription.names)
    subscription.remove(subscription.names.subtracting(wanted))
    subscription.add(added)
    subscription.isAwaitingAnswer = false
    if !isNew { subscription.noteAnswer(request.refusal) }
    if isNew {
      subscription.sent = [:]
      subscription.owesResponse = subscription.isWildcard || !wanted.isEmpty
      return .subscription
    }
    if !added.isEmpty { subscription.owesResponse = true }
    if request.refusal != nil { return .refusal }
    return added.isEmpty ? .acceptance : .subscription
  }

  private func takeDelta(
    _ request: StreamRequest, _ subscription: inout Subscription, _ set: ResourceSet
  ) -> RequestMeaning {
    let isFirst = subscriptions[request.type] == nil
    let wanted = request.names.filter { $0 != "*" }
    if isFirst { subscription.isWildcard = wanted.isEmpty && isWildcard(request.type) }
    if request.names.contains("*") { subscription.isWildcard = true }
    if request.unwanted.contains("*") { subscription.isWildcard = false }
    // What the client does not want any more it forgets by itself; names asked for are always
    // answered, even if they have been before.
    subscription.remove(request.unwanted)
    subscription.add(wanted)
    if isFirst {
      subscription.sent = remembered(request, subscription, set)
      subscription.owesResponse = subscription.isWildcard || !wanted.isEmpty
      return .subscription
    }
    if !wanted.isEmpty || request.names.contains("*") { subscription.owesResponse = true }
    guard !request.nonce.isEmpty else { return .subscription }
    // Subscriptions count whatever the nonce: they are changes, not a state.
    guard request.nonce == subscription.nonce else {
      return subscription.owesResponse ? .subscription : .stale
    }
    subscription.isAwaitingAnswer = false
    subscription.noteAnswer(request.refusal)
    return request.refusal == nil ? .acceptance : .refusal
  }

  /// What a client has from an earlier stream and need not be sent again. Of endpoints and routes
  /// nothing: a proxy that has been sent a cluster or listener again waits for them, though it has
  /// them (https://github.com/envoyproxy/envoy/issues/13009).
  private func remembered(
    _ request: StreamRequest, _ subscription: Subscription, _ set: ResourceSet
  ) -> [String: String] {
    guard isWildcard(request.type) else { return [:] }
    return request.known.filter { name, _ in
      subscription.isWildcard || subscription.names.contains(name)
    }
  }

  private func isWildcard(_ type: String) -> Bool { ResourceSet.TypeURL.wildcard.contains(type) }

  // MARK: Responses

  private mutating func pushes(of set: ResourceSet) -> [Push] {
    typealias TypeURL = ResourceSet.TypeURL
    var pushes: [Push] = []
    var holdsBack = false
    for type in TypeURL.pushOrder
      + subscriptions.keys.filter({ !TypeURL.pushOrder.contains($0) }).sorted()
    {
      guard var subscription = subscriptions[type] else { continue }
      let mayPush = !subscription.isAwaitingAnswer && !(holdsBack && type != TypeURL.endpoints)
      if mayPush || subscription.owesResponse,
        let found = response(type, subscription, set) ?? owed(type, subscription)
      {
        pushes.append(send(found, type, &subscription))
        subscriptions[type] = subscription
        // A proxy waits for the endpoints of every cluster that it was sent, and for the routes of
        // every listener, whether it had them before or not.
        if type == TypeURL.cluster { subscriptions[TypeURL.endpoints]?.sent = [:] }
        if type == TypeURL.listener { subscriptions[TypeURL.routes]?.sent = [:] }
      }
      // What names these must not come before they can be used: a proxy that has been sent clusters
      // asks for their endpoints, and accepts them then.
      if TypeURL.wildcard.contains(type), subscription.isAwaitingAnswer { holdsBack = true }
    }
    return pushes
  }

  private typealias Response = (resources: [ServedResource], removed: [String])

  /// What the client lacks of a type; nil when that is nothing.
  private func response(
    _ type: String, _ subscription: Subscription, _ set: ResourceSet
  ) -> Response? {
    let wanted = subscription.wanted(type, in: set)
    let changed = wanted.filter { subscription.sent[$0.name] != $0.version }
    let there = Set(wanted.map(\.name))
    // A name that was asked for and is not there is told once: it is then sent, with no version.
    let missing = subscription.isWildcard ? [] : subscription.names.subtracting(there)
    let gone = Set(subscription.sent.filter { $0.value != Self.absent }.keys).subtracting(there)
      .union(missing.filter { subscription.sent[$0] != Self.absent })
    guard !changed.isEmpty || !gone.isEmpty else { return nil }
    // State of the world: of these two types a response is all there is (and what it lacks is gone).
    let isWhole = variant == .stateOfTheWorld && ResourceSet.TypeURL.wildcard.contains(type)
    return (isWhole ? wanted : changed, gone.sorted())
  }

  private static let absent = ""

  private func owed(_ type: String, _ subscription: Subscription) -> Response? {
    subscription.owesResponse ? ([], []) : nil
  }

  private mutating func send(
    _ response: Response, _ type: String, _ subscription: inout Subscription
  ) -> Push {
    lastNonce += 1
    for resource in response.resources { subscription.sent[resource.name] = resource.version }
    for name in response.removed {
      subscription.sent[name] = subscription.names.contains(name) ? Self.absent : nil
    }
    subscription.nonce = String(lastNonce)
    subscription.isAwaitingAnswer = true
    subscription.owesResponse = false
    let versions = subscription.sent.sorted { $0.key < $1.key }.map { $0.key + "\0" + $0.value }
    subscription.sentVersion = XXHash64.hexadecimal(
      Array(versions.joined(separator: "\n").utf8))
    return Push(
      type: type, nonce: subscription.nonce, version: subscription.sentVersion,
      resources: response.resources,
      removed: variant == .delta ? response.removed : [])
  }
}
