import Engine
import GRPC
import ResourceModel
import Resources
import SwiftProtobuf

@testable import XDSClient

/// A control plane that says what a test wants, and a client of it, on one loop over loopback.
final class ControlPlane: RPCServerHandler {
  let loop = EventLoop()
  let client: XDSClient
  private let server: RPCServer
  private let channel: RPCChannel
  private let variant: DiscoveryVariant
  private var call: RPCServerCall?
  /// What the client has said, state of the world or delta.
  private(set) var requests: [Envoy_Service_Discovery_V3_DiscoveryRequest] = []
  private(set) var deltas: [Envoy_Service_Discovery_V3_DeltaDiscoveryRequest] = []
  private(set) var connections: [Bool] = []
  private(set) var identifiers: [String] = []
  private(set) var problems: [String] = []
  private var lastNonce = 0

  init(_ variant: DiscoveryVariant = .stateOfTheWorld, tellsNodeOnce: Bool = true) throws {
    self.variant = variant
    let runtime = RPCRuntime(loop: loop)
    server = RPCServer(runtime)
    let address = try server.listen(on: SocketAddress(ip: "127.0.0.1", port: 0)!)
    channel = RPCChannel(runtime, authority: "control") { address }
    client = XDSClient(
      channel, variant, node: .with { $0.id = "me" }, tellsNodeOnce: tellsNodeOnce, on: loop)
    let method = variant == .delta ? "DeltaAggregatedResources" : "StreamAggregatedResources"
    server.methods["/envoy.service.discovery.v3.AggregatedDiscoveryService/" + method] = {
      [unowned self] call in
      self.call = call
      return self
    }
    client.onConnection = { [unowned self] in connections.append($0) }
    client.onIdentifier = { [unowned self] in identifiers.append($0) }
    client.onProblem = { [unowned self] in problems.append($0) }
  }

  deinit {
    client.onConnection = { _ in }
    client.onProblem = { _ in }
    channel.close()
    server.close()
    loop.turn(waitAtMost: 0)
    loop.turn(waitAtMost: 0)
  }

  /// Turns the loop until something is true; false if that does not come about in ten seconds.
  func until(_ condition: () -> Bool) -> Bool {
    let deadline = loop.now + 10_000_000_000
    while !condition() {
      guard loop.now < deadline else { return false }
      loop.turn(waitAtMost: 10)
    }
    return true
  }

  // MARK: Saying something

  func send(_ bytes: [UInt8]) { call?.send(bytes) }

  func send(
    _ type: ResourceType, version: String, _ resources: [Google_Protobuf_Any],
    identifier: String = ""
  ) {
    lastNonce += 1
    let answer = Envoy_Service_Discovery_V3_DiscoveryResponse.with {
      $0.typeURL = type.url
      $0.versionInfo = version
      $0.resources = resources
      $0.nonce = String(lastNonce)
      if !identifier.isEmpty { $0.controlPlane.identifier = identifier }
    }
    send((try? answer.serializedBytes()) ?? [])
  }

  func sendDelta(
    _ type: ResourceType, version: String, _ resources: [Google_Protobuf_Any], names: [String],
    removed: [String] = []
  ) {
    lastNonce += 1
    let answer = Envoy_Service_Discovery_V3_DeltaDiscoveryResponse.with {
      $0.typeURL = type.url
      $0.systemVersionInfo = version
      $0.nonce = String(lastNonce)
      $0.removedResources = removed
      $0.resources = zip(names, resources).map { name, resource in
        .with {
          $0.name = name
          $0.version = version
          $0.resource = resource
        }
      }
    }
    send((try? answer.serializedBytes()) ?? [])
  }

  func end() { call?.finish(RPCStatus(.unavailable, "going")) }

  // MARK: The server's side

  func received(_ message: [UInt8]) {
    switch variant {
    case .stateOfTheWorld:
      guard
        let request = try? Envoy_Service_Discovery_V3_DiscoveryRequest(serializedBytes: message)
      else { return }
      requests.append(request)
    case .delta:
      guard
        let request = try? Envoy_Service_Discovery_V3_DeltaDiscoveryRequest(
          serializedBytes: message)
      else { return }
      deltas.append(request)
    }
  }

  func clientFinished() { call?.finish(.ok) }
  func sendable() {}
  func ended() { call = nil }
}

/// Somebody who wants resources, and remembers what it was told.
final class Watched {
  /// The names in each answer.
  private(set) var names: [[String]] = []
  private(set) var removed: [[String]] = []
  private(set) var refused: [[String]] = []
  private(set) var disconnections = 0
  /// What it refuses of every answer.
  var refusals: [Refusal] = []
  private var watch: XDSClient.Watch?

  init(_ client: XDSClient, _ type: ResourceType, named name: String? = nil) {
    watch = client.watch(
      type, named: name,
      ResourceWatcher(
        update: { [weak self] in self?.update($0) ?? [] },
        refused: { [weak self] in self?.refused.append($0) },
        disconnected: { [weak self] in self?.disconnections += 1 }))
  }

  private func update(_ set: DiscoveredSet) -> [Refusal] {
    names.append(set.resources.map(\.name))
    if let removed = set.removed { self.removed.append(removed) }
    return refusals
  }
}
