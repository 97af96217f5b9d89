import GRPC
import ResourceModel
import SwiftProtobuf
import Telemetry

/// One aggregated discovery stream: reads a client's requests, lets `StreamState` decide, and writes
/// what it says.
final class DiscoveryStream: RPCServerHandler {
  private let call: RPCServerCall
  private unowned let server: MeshServer
  private var state: StreamState
  /// What the client calls itself; empty until it has.
  private var node = ""

  init(_ call: RPCServerCall, _ variant: StreamState.Variant, on server: MeshServer) {
    self.call = call
    self.server = server
    state = StreamState(variant)
  }

  private var isDelta: Bool { state.variant == .delta }

  // MARK: The call

  func received(_ message: [UInt8]) {
    do {
      let request = try isDelta ? readDelta(message) : readWorld(message)
      guard !node.isEmpty else {
        return refuse("the first request names no node")
      }
      let (meaning, pushes) = try state.take(request, of: server.resources)
      log(request, meaning)
      send(pushes)
    } catch let violation as StreamViolation {
      refuse(violation.description)
    } catch {
      refuse("the request cannot be read: \(error)")
    }
  }

  func clientFinished() { call.finish(.ok) }

  func sendable() { call.resume() }

  func ended() {
    if !node.isEmpty { ProcessLog.shared.info(.grpc, "\(title): disconnected") }
    server.ended(self)
  }

  private func refuse(_ reason: String) {
    ProcessLog.shared.warning(.grpc, "\(title): \(reason)")
    call.finish(RPCStatus(.invalidArgument, reason))
  }

  /// There is something else to serve.
  func publish() { send(state.publish(server.resources)) }

  // MARK: Requests

  private func readWorld(_ message: [UInt8]) throws -> StreamRequest {
    let wire = try Envoy_Service_Discovery_V3_DiscoveryRequest(serializedBytes: message)
    introduce(wire.node)
    return StreamRequest(
      type: wire.typeURL, nonce: wire.responseNonce,
      refusal: wire.hasErrorDetail ? wire.errorDetail.message : nil, names: wire.resourceNames)
  }

  private func readDelta(_ message: [UInt8]) throws -> StreamRequest {
    let wire = try Envoy_Service_Discovery_V3_DeltaDiscoveryRequest(serializedBytes: message)
    introduce(wire.node)
    return StreamRequest(
      type: wire.typeURL, nonce: wire.responseNonce,
      refusal: wire.hasErrorDetail ? wire.errorDetail.message : nil,
      names: wire.resourceNamesSubscribe, unwanted: wire.resourceNamesUnsubscribe,
      known: wire.initialResourceVersions)
  }

  /// The first request says who asks; later ones need not.
  private func introduce(_ node: Envoy_Config_Core_V3_Node) {
    guard self.node.isEmpty, !node.id.isEmpty else { return }
    self.node = Self.shorten(node.id)
    let variant = isDelta ? "delta" : "state of the world"
    ProcessLog.shared.info(.grpc, "\(title): connected, \(variant)")
  }

  // MARK: Responses

  private func send(_ pushes: [Push]) {
    for push in pushes {
      do {
        call.send(try isDelta ? delta(push) : world(push))
      } catch {
        // Of messages that were read before; only a defect leads here.
        return call.finish(RPCStatus(.internal, "\(error)"))
      }
      ProcessLog.shared.debug(
        .grpc,
        "\(title): \(Self.name(of: push.type)) sent, version \(push.version), nonce \(push.nonce), "
          + "\(push.resources.count) resources, \(push.removed.count) removed")
    }
    // Whoever asks without reading the answers is not heard until it has read them.
    if call.isBlocked { call.pause() }
  }

  private func world(_ push: Push) throws -> [UInt8] {
    try Envoy_Service_Discovery_V3_DiscoveryResponse.with {
      $0.versionInfo = push.version
      $0.typeURL = push.type
      $0.nonce = push.nonce
      $0.resources = push.resources.map(\.message)
    }.serializedBytes()
  }

  private func delta(_ push: Push) throws -> [UInt8] {
    try Envoy_Service_Discovery_V3_DeltaDiscoveryResponse.with {
      $0.systemVersionInfo = push.version
      $0.typeURL = push.type
      $0.nonce = push.nonce
      $0.removedResources = push.removed
      $0.resources = push.resources.map { resource in
        .with {
          $0.name = resource.name
          $0.version = resource.version
          $0.resource = resource.message
        }
      }
    }.serializedBytes()
  }

  // MARK: The log

  private var title: String {
    "node '\(node)' (\(call.peer.description))"
  }

  private func log(_ request: StreamRequest, _ meaning: RequestMeaning) {
    let what = Self.name(of: request.type)
    if let refusal = request.refusal {
      ProcessLog.shared.warning(.grpc, "\(title): \(what) refused: \(Self.shorten(refusal))")
      return
    }
    ProcessLog.shared.debug(
      .grpc,
      "\(title): \(what) \(meaning), nonce '\(request.nonce)', \(request.names.count) names")
  }

  /// The last part of a type's URL: `Cluster`.
  private static func name(of type: String) -> String {
    shorten(type.split(separator: ".").last.map(String.init) ?? type)
  }

  private static func shorten(_ text: String) -> String {
    String(decoding: text.utf8.prefix(MeshLimits.loggedBytes), as: UTF8.self)
  }
}
