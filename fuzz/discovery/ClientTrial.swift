import Engine
import GRPC
import ResourceModel
import Resources

@testable import XDSClient

/// One loop for all inputs; what belongs to it lasts as long.
nonisolated(unsafe) private let loop = EventLoop()
nonisolated(unsafe) private let runtime = RPCRuntime(loop: loop)

/// A client that hears whatever the input says; watches begin, end, and refuse.
final class ClientTrial {
  private final class Watched {
    let type: ResourceType
    let name: String?
    var watch: XDSClient.Watch?
    var refuses = false

    init(_ type: ResourceType, _ name: String?) {
      self.type = type
      self.name = name
    }

    func take(_ set: DiscoveredSet) -> [Refusal] {
      if let name {
        precondition(set.resources.allSatisfy { $0.name == name }, "it has asked for another one")
      }
      return refuses ? set.resources.map { Refusal(name: $0.name, reasons: ["no"]) } : []
    }
  }

  private let variant: DiscoveryVariant
  private let channel: RPCChannel
  private let client: XDSClient
  private var watches: [Watched] = []
  private var state: DiscoveryState

  init(_ variant: DiscoveryVariant) {
    self.variant = variant
    channel = RPCChannel(runtime, authority: "control") { nil }
    client = XDSClient(
      channel, variant, node: .with { $0.id = "me" }, tellsNodeOnce: true, on: loop)
    state = DiscoveryState(.endpoints, variant)
  }

  func run(_ input: Steps) {
    var steps = input
    client.opened()
    while let step = steps.next() {
      switch step {
      case UInt8(ascii: "m"):
        let message = steps.message()
        client.received(message)
        tell(message)
      case UInt8(ascii: "w"): watch(&steps)
      case UInt8(ascii: "u"): if !watches.isEmpty { unwatch(steps.number(below: watches.count)) }
      case UInt8(ascii: "r"):
        if !watches.isEmpty { watches[steps.number(below: watches.count)].refuses.toggle() }
      case UInt8(ascii: "e"):
        client.ended(RPCStatus(.unavailable, "gone"), retryIn: 1)
        client.opened()
        state.streamBegan()
      case UInt8(ascii: "t"): loop.turn(waitAtMost: 0)
      default: continue
      }
    }
    watches = []
    loop.turn(waitAtMost: 0)
    channel.close()
  }

  private func watch(_ steps: inout Steps) {
    guard watches.count < 64 else { return }
    let type = types[steps.number(below: types.count)]
    let name = ([nil] + names)[steps.number(below: names.count + 1)]
    let watched = Watched(type, name)
    watched.watch = client.watch(
      type, named: name,
      ResourceWatcher(
        update: { [weak watched] in watched?.take($0) ?? [] }, refused: { sink &+= $0.count },
        disconnected: {}))
    watches.append(watched)
    if type == .endpoints { _ = state.add(name) }
  }

  private func unwatch(_ index: Int) {
    let watched = watches.remove(at: index)
    if watched.type == .endpoints { _ = state.remove(watched.name) }
  }

  /// The same message for the state alone, and what it says then.
  private func tell(_ message: [UInt8]) {
    guard let answer = try? DiscoveryAnswer(message, variant) else { return }
    let isAccepted = answer.entries.count % 2 == 0
    var inForce: [String: String] = [:]
    for entry in answer.entries where isAccepted { inForce[entry.name] = entry.version }
    state.received(answer, isAccepted: isAccepted, inForce: inForce)
    let reason = String(repeating: "no", count: answer.entries.count * 100)
    guard let request = state.request(isAccepted ? .acceptance : .refusal(reason)) else { return }
    precondition(request.nonce == answer.nonce, "an answer to an answer says to which")
    precondition(request.names == Set(request.names).sorted(), "names stand once and in order")
    guard let bytes = try? request.bytes(variant, node: nil) else {
      preconditionFailure("a request can be written")
    }
    precondition(bytes.count < 1 << 20, "a request has a bound")
    sink &+= bytes.count
  }
}
