import Engine
import GRPC
import ResourceModel
import Resources
import SwiftProtobuf

/// A proxy's stream to a control plane, for all kinds of resources (ADS) or one: asks for resources, hands
/// answers to those who want them, and acknowledges or refuses each. It begins anew when the stream ends;
/// what was accepted stays in force meanwhile. One thread.
///
/// What comes of answers stands in `+Answers`, what comes without one in `+Absence`.
package final class XDSClient {
  /// Ends a watch when nobody holds it any more.
  package final class Watch {
    let id: Int
    let type: ResourceType
    let name: String?
    private weak var client: XDSClient?

    fileprivate init(_ client: XDSClient, _ id: Int, _ type: ResourceType, named name: String?) {
      self.client = client
      self.id = id
      self.type = type
      self.name = name
    }

    deinit { client?.end(self) }
  }

  let variant: DiscoveryVariant
  private let service: DiscoveryService
  private let node: Envoy_Config_Core_V3_Node
  private let tellsNodeOnce: Bool
  let loop: EventLoop
  private let channel: RPCChannel
  private let metadata: RPCFields
  private var stream: RPCPersistentStream?
  var states: [ResourceType: DiscoveryState] = [:]
  var watches: [ResourceType: WatchList] = [:]
  private var lastID = 0
  /// Kinds of which the server has to be told something, and watches that are owed what others have.
  var toTell: Set<ResourceType> = []
  private var toReplay: [(type: ResourceType, id: Int, name: String)] = []
  /// Names that nobody wants any more, of which the server has not heard yet.
  private var toForget: [ResourceExpiry.Key] = []
  private var isTurnPlanned = false
  private var hasSentNode = false
  /// What was last said of the application; nil: nothing is known.
  var health: ApplicationHealth?
  var isAnswered = false
  /// A stream has ended, and none has been answered since.
  var isAbandoned = false
  var expiry = ResourceExpiry()
  let expiryTimer: LoopTimer
  /// What is kept on disk of what is accepted; nil: nothing.
  package var cache: ResourceCache?
  /// Runs once, after which what is kept and nobody wants is taken from the disk.
  let sweepTimer: LoopTimer
  var hasSwept = false
  /// Delta: of kinds that are asked for whole, the names of all that the server has.
  var announced: [ResourceType: Set<String>] = [:]
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
    _ channel: RPCChannel, _ variant: DiscoveryVariant, for service: DiscoveryService = .aggregated,
    node: Envoy_Config_Core_V3_Node, tellsNodeOnce: Bool, metadata: RPCFields = [],
    on loop: EventLoop
  ) {
    self.channel = channel
    self.variant = variant
    self.service = service
    self.node = node
    self.tellsNodeOnce = tellsNodeOnce
    self.metadata = metadata
    self.loop = loop
    expiryTimer = LoopTimer(on: loop)
    sweepTimer = LoopTimer(on: loop)
  }

  /// Begins.
  package func start() {
    let stream = RPCPersistentStream(
      channel, path: service.path(variant), metadata: metadata, handler: self)
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
    if states[type, default: DiscoveryState(type, variant)].add(name) { toTell.insert(type) }
    if let name { toReplay.append((type, lastID, name)) }
    planTurn()
    return Watch(self, lastID, type, named: name)
  }

  private func end(_ watch: Watch) {
    watches[watch.type]?.remove(watch.id, named: watch.name)
    guard states[watch.type]?.remove(watch.name) == true else { return }
    toTell.insert(watch.type)
    if let name = watch.name { toForget.append(.init(type: watch.type, name: name)) }
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
      guard let list = watches[type], !list.isTold(id), let set = list.latest(named: name) else {
        continue
      }
      watches[type]?.noteTold(id)
      _ = list.watcher(id, named: name)?.update(set)
    }
    if isAbandoned { serveStored() }
  }

  func tellChanges() {
    for type in ResourceType.inOrder where toTell.contains(type) { send(type, .change) }
    toTell = []
    let forget = toForget
    toForget = []
    for key in forget where states[key.type]?.isHeld(key.name) == false {
      watches[key.type]?.forget(key.name)
      expiry.forget(key)
      cache?.remove(key.type, key.name)
    }
  }

  func send(_ type: ResourceType, _ occasion: DiscoveryState.Occasion) {
    // A stream that begins is told everything.
    guard let stream, stream.isOpen, let request = states[type]?.request(occasion) else { return }
    sendMessage { node in try request.bytes(variant, node: node) }
  }

  /// - Parameter message: what is sent, made with who we are, where the server is to be told.
  private func sendMessage(_ message: (Envoy_Config_Core_V3_Node?) throws -> [UInt8]) {
    guard let stream, stream.isOpen else { return }
    let tellsNode = !hasSentNode || !tellsNodeOnce
    do {
      stream.send(try message(tellsNode ? node : nil))
      hasSentNode = true
    } catch {
      // Of messages that were read before; only a defect leads here.
      onProblem("a request cannot be written: \(error)")
    }
  }
}

extension XDSClient {
  /// Says how the application is, if that is known.
  func sendHealth() {
    guard let health else { return }
    sendMessage { node in try health.bytes(variant, node: node) }
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
    // Last, as Istio's agent does: the server has to know first that we are there.
    sendHealth()
  }

  package func ended(_ status: RPCStatus, retryIn milliseconds: UInt64) {
    isAnswered = false
    isAbandoned = true
    onConnection(false)
    onProblem(
      "the stream to the control plane has ended (\(status.code): \(status.message)); "
        + "another one begins in \(milliseconds) ms")
    for type in ResourceType.inOrder {
      for watcher in (watches[type] ?? WatchList()).everybody { watcher.disconnected() }
    }
    serveStored()
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
      isAbandoned = false
      planSweep()
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
