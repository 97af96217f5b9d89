import Engine
import GRPC
import ResourceModel
import Resources

/// A proxy's stream to its control plane (ADS): asks for resources, hands answers to those who want
/// them, and acknowledges or refuses each. It begins anew when the stream ends; what was accepted stays
/// in force meanwhile. One thread.
package final class XDSClient {
  /// Ends a watch when nobody holds it any more.
  package final class Watch {
    fileprivate let id: Int
    fileprivate let type: ResourceType
    fileprivate let name: String?
    private weak var client: XDSClient?

    fileprivate init(_ client: XDSClient, _ id: Int, _ type: ResourceType, named name: String?) {
      self.client = client
      self.id = id
      self.type = type
      self.name = name
    }

    deinit { client?.end(self) }
  }

  private static let service = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"

  private let variant: DiscoveryVariant
  private let node: Envoy_Config_Core_V3_Node
  private let tellsNodeOnce: Bool
  private let loop: EventLoop
  private let channel: RPCChannel
  private let metadata: RPCFields
  private var stream: RPCPersistentStream?
  private var states: [ResourceType: DiscoveryState] = [:]
  private var watches: [ResourceType: WatchList] = [:]
  private var lastID = 0
  /// Kinds of which the server has to be told something, and watches that are owed what others have.
  private var toTell: Set<ResourceType> = []
  private var toReplay: [(type: ResourceType, id: Int, name: String)] = []
  private var isTurnPlanned = false
  private var hasSentNode = false
  private var isAnswered = false
  /// Called when the server begins to answer, and when the stream has ended.
  package var onConnection: (Bool) -> Void = { _ in }
  /// Called with the name that the server gives itself.
  package var onIdentifier: (String) -> Void = { _ in }
  /// Called with sentences for the log.
  package var onProblem: (String) -> Void = { _ in }

  /// - Parameters:
  ///   - node: who we are.
  ///   - tellsNodeOnce: with the first request of each stream only.
  package init(
    _ channel: RPCChannel, _ variant: DiscoveryVariant, node: Envoy_Config_Core_V3_Node,
    tellsNodeOnce: Bool, metadata: RPCFields = [], on loop: EventLoop
  ) {
    self.channel = channel
    self.variant = variant
    self.node = node
    self.tellsNodeOnce = tellsNodeOnce
    self.metadata = metadata
    self.loop = loop
  }

  /// Begins.
  package func start() {
    let method =
      variant == .delta ? "DeltaAggregatedResources" : "StreamAggregatedResources"
    let stream = RPCPersistentStream(
      channel, path: Self.service + method, metadata: metadata, handler: self)
    self.stream = stream
    stream.start()
  }

  // MARK: Watching

  /// Asks for resources, from now on and on every later stream. The watcher is called from the loop,
  /// never from within this.
  /// - Parameter name: of the one that is wanted; nil for all of the kind.
  package func watch(
    _ type: ResourceType, named name: String?, _ watcher: ResourceWatcher
  ) -> Watch {
    lastID += 1
    watches[type, default: WatchList()].add(watcher, lastID, named: name)
    if states[type, default: DiscoveryState(type, variant)].add(name) {
      toTell.insert(type)
      planTurn()
    } else if let name {
      toReplay.append((type, lastID, name))
      planTurn()
    }
    return Watch(self, lastID, type, named: name)
  }

  private func end(_ watch: Watch) {
    watches[watch.type]?.remove(watch.id, named: watch.name)
    guard states[watch.type]?.remove(watch.name) == true else { return }
    toTell.insert(watch.type)
    planTurn()
  }

  /// What changes in one turn of the loop is told in one request for each kind.
  private func planTurn() {
    guard !isTurnPlanned else { return }
    isTurnPlanned = true
    loop.soon { [weak self] in self?.takeTurn() }
  }

  private func takeTurn() {
    isTurnPlanned = false
    tellChanges()
    let replay = toReplay
    toReplay = []
    for (type, id, name) in replay {
      guard let list = watches[type], let set = list.latest(named: name) else { continue }
      _ = list.watcher(id, named: name)?.update(set)
    }
  }

  private func tellChanges() {
    for type in ResourceType.inOrder where toTell.contains(type) { send(type, .change) }
    toTell = []
  }

  private func send(_ type: ResourceType, _ occasion: DiscoveryState.Occasion) {
    // A stream that begins is told everything.
    guard let stream, stream.isOpen, let request = states[type]?.request(occasion) else { return }
    let tellsNode = !hasSentNode || !tellsNodeOnce
    do {
      stream.send(try request.bytes(variant, node: tellsNode ? node : nil))
      hasSentNode = true
    } catch {
      // Of messages that were read before; only a defect leads here.
      onProblem("a request cannot be written: \(error)")
    }
  }

  // MARK: Answers

  /// What became of an answer.
  private struct Outcome {
    /// A sentence for each thing that is refused.
    var reasons: [String] = []
    /// Versions of what was taken over, by name.
    var inForce: [String: String] = [:]
  }

  /// Hands an answer to those whom it concerns.
  private func deliver(_ answer: DiscoveryAnswer, _ type: ResourceType) -> Outcome {
    let (resources, problems) = read(answer, type)
    guard problems.isEmpty else {
      // What cannot be read might be anything: nothing is taken for gone because of it.
      for watcher in (watches[type] ?? WatchList()).everybody { watcher.refused(problems) }
      return Outcome(reasons: problems)
    }
    var refusals: [Refusal] = []
    let whole = DiscoveredSet(
      version: answer.version, resources: resources,
      removed: variant == .delta ? answer.removed : nil)
    for id in watches[type]?.wildcardIDs ?? [] {
      refusals += watches[type]?.watcher(id, named: nil)?.update(whole) ?? []
    }
    let byName = Dictionary(grouping: resources, by: \.name)
    var told: Set<String> = []
    // What an answer says nothing of stays as it is.
    for name in resources.map(\.name) + answer.removed where told.insert(name).inserted {
      let set = DiscoveredSet(version: answer.version, resources: byName[name] ?? [])
      refusals += tell(type, name, set)
    }
    let refused = Set(refusals.map(\.name))
    var outcome = Outcome(reasons: refusals.map(\.description))
    for (entry, resource) in zip(answer.entries, resources)
    where !refused.contains(resource.name) {
      outcome.inForce[resource.name] = entry.version
    }
    return outcome
  }

  private func tell(_ type: ResourceType, _ name: String, _ set: DiscoveredSet) -> [Refusal] {
    var refusals: [Refusal] = []
    for id in watches[type]?.ids(named: name) ?? [] {
      refusals += watches[type]?.watcher(id, named: name)?.update(set) ?? []
    }
    if refusals.isEmpty { watches[type]?.note(set, named: name) }
    return refusals
  }

  /// Takes an answer apart. The problems are those that put the whole of it in doubt.
  private func read(
    _ answer: DiscoveryAnswer, _ type: ResourceType
  ) -> (resources: [DiscoveredResource], problems: [String]) {
    var problems: [String] = []
    var resources: [DiscoveredResource] = []
    for entry in answer.entries {
      guard entry.resource.typeURL == type.url else {
        problems.append("expected '\(type.url)', found '\(entry.resource.typeURL)'")
        continue
      }
      do throws(DiscoveryMessage.UnknownType) {
        let resource = try DiscoveryMessage.read(
          typeURL: type.url, value: Array(entry.resource.value), origin: "xDS")
        if resource.name.isEmpty {
          problems += ["a resource without a name"] + resource.problems
        } else if variant == .delta || !entry.name.isEmpty, entry.name != resource.name {
          problems.append("'\(resource.name)' is announced as '\(entry.name)'")
        }
        resources.append(resource)
      } catch {
        problems.append(error.description)
      }
    }
    return (resources, problems)
  }
}

extension XDSClient: RPCPersistentStreamHandler {
  package func opened() {
    hasSentNode = false
    isAnswered = false
    for type in ResourceType.inOrder {
      states[type]?.streamBegan()
      send(type, .change)
    }
    toTell = []
  }

  package func ended(_ status: RPCStatus, retryIn milliseconds: UInt64) {
    isAnswered = false
    onConnection(false)
    onProblem(
      "the stream to the control plane has ended (\(status.code): \(status.message)); "
        + "another one begins in \(milliseconds) ms")
    for type in ResourceType.inOrder {
      for watcher in (watches[type] ?? WatchList()).everybody { watcher.disconnected() }
    }
  }

  package func received(_ message: [UInt8]) {
    let answer: DiscoveryAnswer
    do {
      answer = try DiscoveryAnswer(message, variant)
    } catch {
      return onProblem("an answer of the control plane cannot be read: \(error)")
    }
    if !isAnswered {
      isAnswered = true
      onConnection(true)
    }
    if !answer.identifier.isEmpty { onIdentifier(answer.identifier) }
    guard let type = ResourceType.inOrder.first(where: { $0.url == answer.typeURL }),
      states[type] != nil
    else { return onProblem("an answer with '\(answer.typeURL)', which nobody has asked for") }
    let outcome = deliver(answer, type)
    let isAccepted = outcome.reasons.isEmpty
    states[type]?.received(answer, isAccepted: isAccepted, inForce: outcome.inForce)
    // As Envoy does: whoever hears that clusters are accepted has been asked for their endpoints.
    toTell.remove(type)
    tellChanges()
    send(
      type, isAccepted ? .acceptance : .refusal(outcome.reasons.joined(separator: "\n")))
  }
}
