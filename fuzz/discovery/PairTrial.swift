import ResourceModel
import Resources

@testable import MeshServer
@testable import XDSClient

/// Our client and our server on the two ends of a stream that delivers late, and breaks. However it
/// went: when everything has arrived, the client has what the server serves.
final class PairTrial {
  private let variant: DiscoveryVariant
  private var clients: [ResourceType: DiscoveryState] = [:]
  private var server: StreamState
  private var layer = ResourceLayer([:])
  private var held: [ResourceType: [String]] = [:]
  /// What the client has, by name: versions.
  private var has: [ResourceType: [String: String]] = [:]
  private var toServer: [[UInt8]] = []
  private var toClient: [Push] = []
  private var refuses = false

  init(_ variant: DiscoveryVariant) {
    self.variant = variant
    server = Self.server(variant)
    for type in types { clients[type] = DiscoveryState(type, variant) }
  }

  private static func server(_ variant: DiscoveryVariant) -> StreamState {
    StreamState(variant == .delta ? .delta : .stateOfTheWorld)
  }

  private static let wildcards: [ResourceType] = [.clusters, .listeners]

  func run(_ input: Steps) {
    var steps = input
    for type in Self.wildcards where clients[type]?.add(nil) == true { say(type, .change) }
    while let step = steps.next() {
      switch step {
      case UInt8(ascii: "w"): hold(&steps)
      case UInt8(ascii: "u"): letGo(&steps)
      case UInt8(ascii: "p"):
        publish(UInt8(steps.number(below: 4)), without: steps.number(below: 4))
      case UInt8(ascii: "s"): deliverToServer()
      case UInt8(ascii: "c"): deliverToClient()
      case UInt8(ascii: "r"): refuses.toggle()
      case UInt8(ascii: "e"): reconnect()
      default: continue
      }
    }
    // A version that nobody has, or has refused.
    refuses = false
    publish(99, without: 3)
    var rounds = 0
    while !toServer.isEmpty || !toClient.isEmpty {
      deliverToServer()
      deliverToClient()
      rounds += 1
      precondition(rounds < 10_000, "it comes to an end")
    }
    for type in types { check(type) }
  }

  private func publish(_ content: UInt8, without missing: Int) {
    layer = served(content, without: missing, after: layer)
    toClient += server.publish(ResourceSet([layer]))
  }

  // MARK: The client

  private static let named: [ResourceType] = [.endpoints, .routes]

  private func hold(_ steps: inout Steps) {
    let type = Self.named[steps.number(below: 2)]
    let name = names[steps.number(below: names.count)]
    guard held[type, default: []].count < 16 else { return }
    held[type, default: []].append(name)
    if clients[type]?.add(name) == true { say(type, .change) }
  }

  private func letGo(_ steps: inout Steps) {
    let type = Self.named[steps.number(below: 2)]
    let name = names[steps.number(below: names.count)]
    guard let index = held[type]?.firstIndex(of: name) else { return }
    held[type]?.remove(at: index)
    guard clients[type]?.remove(name) == true else { return }
    has[type]?[name] = nil
    say(type, .change)
  }

  private func say(_ type: ResourceType, _ occasion: DiscoveryState.Occasion) {
    guard let request = clients[type]?.request(occasion),
      let bytes = try? request.bytes(variant, node: nil)
    else { return }
    toServer.append(bytes)
  }

  private func deliverToClient() {
    guard !toClient.isEmpty else { return }
    let push = toClient.removeFirst()
    guard let type = types.first(where: { $0.url == push.type }) else {
      preconditionFailure("nobody has asked for that")
    }
    var answer = DiscoveryAnswer()
    answer.typeURL = push.type
    answer.nonce = push.nonce
    answer.version = push.version
    answer.removed = push.removed
    var inForce: [String: String] = [:]
    if !refuses { take(push, type, &inForce) }
    clients[type]?.received(answer, isAccepted: !refuses, inForce: inForce)
    say(type, refuses ? .refusal("no") : .acceptance)
  }

  private func take(_ push: Push, _ type: ResourceType, _ inForce: inout [String: String]) {
    if variant == .stateOfTheWorld, Self.wildcards.contains(type) { has[type] = [:] }
    for resource in push.resources {
      inForce[resource.name] = resource.version
      guard Self.wildcards.contains(type) || held[type]?.contains(resource.name) == true else {
        continue
      }
      has[type, default: [:]][resource.name] = resource.version
    }
    for name in push.removed { has[type]?[name] = nil }
  }

  private func reconnect() {
    toServer = []
    toClient = []
    server = Self.server(variant)
    for type in types {
      clients[type]?.streamBegan()
      say(type, .change)
    }
  }

  // MARK: The server

  private func deliverToServer() {
    guard !toServer.isEmpty else { return }
    let bytes = toServer.removeFirst()
    guard let request = StreamRequest(bytes, isDelta: variant == .delta) else {
      preconditionFailure("our own request can be read")
    }
    do throws(StreamViolation) {
      toClient += try server.take(request, of: ResourceSet([layer])).1
    } catch {
      preconditionFailure("our own client keeps to the rules: \(error.description)")
    }
  }

  private func check(_ type: ResourceType) {
    let set = ResourceSet([layer])
    var wanted: [String: String] = [:]
    if Self.wildcards.contains(type) {
      for resource in set.all(of: type.url) { wanted[resource.name] = resource.version }
    } else {
      for name in held[type] ?? [] { wanted[name] = set.resource(of: type.url, name)?.version }
    }
    precondition(has[type, default: [:]] == wanted, "the client has what is served: \(type)")
  }
}
