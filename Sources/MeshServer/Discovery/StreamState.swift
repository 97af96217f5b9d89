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
      ? takeDelta(request, &subscription) : takeWorld(request, &subscription)
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
      subscription.setWildcard(true)
    } else if isFirst, ResourceSet.TypeURL.wildcard.contains(request.type) {
      subscription.setWildcard(wanted.isEmpty)
    } else if !wanted.isEmpty {
      subscription.setWildcard(false)
    }
    let added = wanted.subtracting(subscription.names)
    subscription.remove(subscription.names.subtracting(wanted))
    subscription.add(added)
    subscription.isAwaitingAnswer = false
    if !isNew {
      subscription.noteAnswer(request.refusal, isWhole: isWildcard(request.type))
    }
    if isNew {
      subscription.forget()
      subscription.owesResponse = subscription.isWildcard || !wanted.isEmpty
      return .subscription
    }
    if !added.isEmpty { subscription.owesResponse = true }
    if request.refusal != nil { return .refusal }
    return added.isEmpty ? .acceptance : .subscription
  }

  private func takeDelta(
    _ request: StreamRequest, _ subscription: inout Subscription
  ) -> RequestMeaning {
    let isFirst = subscriptions[request.type] == nil
    let wanted = request.names.filter { $0 != "*" }
    if isFirst { subscription.setWildcard(wanted.isEmpty && isWildcard(request.type)) }
    if request.names.contains("*") { subscription.setWildcard(true) }
    if request.unwanted.contains("*") { subscription.setWildcard(false) }
    // What the client does not want any more it forgets by itself; names asked for are always
    // answered, even if they have been before.
    subscription.remove(request.unwanted)
    subscription.add(wanted)
    if isFirst {
      subscription.forget(keeping: remembered(request, subscription))
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
    subscription.noteAnswer(request.refusal, isWhole: false)
    return request.refusal == nil ? .acceptance : .refusal
  }

  /// What a client has from an earlier stream and need not be sent again. Of endpoints and routes
  /// nothing: a proxy that has been sent a cluster or listener again waits for them, though it has
  /// them (https://github.com/envoyproxy/envoy/issues/13009).
  private func remembered(
    _ request: StreamRequest, _ subscription: Subscription
  ) -> SentVersions {
    guard isWildcard(request.type) else { return SentVersions() }
    return SentVersions(
      request.known.filter { name, _ in
        subscription.isWildcard || subscription.names.contains(name)
      })
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
      if mayPush || subscription.owesResponse {
        let lack = lack(of: type, subscription, set)
        // A proxy refuses an answer without the secret that it asked for; it waits for one that comes.
        if type == TypeURL.secret, variant == .stateOfTheWorld, lack.changed.isEmpty { continue }
        var sent: [ServedResource] = []
        if !lack.isNothing || subscription.owesResponse {
          let push = send(lack, type, &subscription, set)
          sent = push.resources
          pushes.append(push)
        }
        subscription.reach(set.digests(of: type))
        subscriptions[type] = subscription
        if !sent.isEmpty { resend(after: lack, sent, type) }
      }
      // What names these must not come before they can be used: a proxy that has been sent clusters
      // asks for their endpoints, and accepts them then.
      if TypeURL.wildcard.contains(type), subscription.isAwaitingAnswer { holdsBack = true }
    }
    return pushes
  }

  /// What a client has not, or not as it is.
  private struct Lack {
    /// Resources that are new to it, or have changed.
    var changed: [ServedResource] = []
    /// Names that it has, or has asked for, and that there are not.
    var gone: [String] = []

    var isNothing: Bool { changed.isEmpty && gone.isEmpty }
  }

  /// A proxy waits for the endpoints of every cluster that it was sent anew, and for the routes of every
  /// listener, whether it had them before or not.
  private mutating func resend(after lack: Lack, _ sent: [ServedResource], _ type: String) {
    if type == ResourceSet.TypeURL.listener {
      subscriptions[ResourceSet.TypeURL.routes]?.forget()
    }
    guard type == ResourceSet.TypeURL.cluster else { return }
    if sent.contains(where: { $0.awaited == nil }) {
      subscriptions[ResourceSet.TypeURL.endpoints]?.forget()
    } else {
      let names = lack.changed.flatMap { $0.awaited ?? [] }
      subscriptions[ResourceSet.TypeURL.endpoints]?.forget(names)
    }
  }

  private func lack(of type: String, _ subscription: Subscription, _ set: ResourceSet) -> Lack {
    guard let reached = subscription.reached, let changes = set.changes(of: type, since: reached)
    else { return wholeLack(of: type, subscription, set) }
    guard !changes.isEmpty || !subscription.unsure.isEmpty else { return Lack() }
    var lack = Lack()
    for name in subscription.unsure.union(changes).sorted()
    where subscription.isWildcard || subscription.names.contains(name) {
      let sent = subscription.sent[name]
      let resource =
        subscription.isWildcard
        ? set.resource(of: type, name) : set.answer(of: type, for: name)
      if let resource {
        if resource.hash != sent { lack.changed.append(resource) }
      } else if sent != SentVersions.absent, sent != nil || !subscription.isWildcard {
        lack.gone.append(name)
      }
    }
    return lack
  }

  /// By looking at everything.
  private func wholeLack(
    of type: String, _ subscription: Subscription, _ set: ResourceSet
  ) -> Lack {
    let wanted = subscription.wanted(type, in: set)
    let sent = subscription.sent
    let there = Set(wanted.map(\.name))
    // A name that was asked for and is not there is told once: it is then sent, with no version.
    var gone = subscription.isWildcard ? [] : subscription.names.subtracting(there)
    gone.formUnion(sent.names.filter { !there.contains($0) })
    return Lack(
      changed: wanted.filter { sent[$0.name] != $0.hash },
      gone: gone.filter { sent[$0] != SentVersions.absent }.sorted())
  }

  private mutating func send(
    _ lack: Lack, _ type: String, _ subscription: inout Subscription, _ set: ResourceSet
  ) -> Push {
    // State of the world: of these two types a response is all there is (and what it lacks is gone).
    let isWhole = variant == .stateOfTheWorld && ResourceSet.TypeURL.wildcard.contains(type)
    let resources =
      isWhole && !lack.isNothing ? subscription.wanted(type, in: set) : lack.changed
    lastNonce += 1
    subscription.note(lack.changed, removed: lack.gone)
    subscription.nonce = String(lastNonce)
    subscription.isAwaitingAnswer = true
    subscription.owesResponse = false
    subscription.sentVersion = SentVersions.text(subscription.sent.digest)
    return Push(
      type: type, nonce: subscription.nonce, version: subscription.sentVersion,
      resources: resources, removed: variant == .delta ? lack.gone : [])
  }
}
