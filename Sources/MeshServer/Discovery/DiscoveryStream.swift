import CLinux
import Engine
import GRPC
import MeshMessages
import MeshModel
import MeshTranslation
import ResourceModel
import SwiftProtobuf
import Telemetry

/// One discovery stream, aggregated or of a single type: reads a client's requests, lets `StreamState` decide, and writes
/// what it says.
final class DiscoveryStream: RPCServerHandler {
  private let call: RPCServerCall
  private unowned let server: MeshServer
  private(set) var state: StreamState
  /// Who the client is; nil until it has said so.
  private(set) var node: ProxyNode?
  /// In the order in which clients come.
  let number: UInt64
  let connectedAt = fl_realtime_ns()
  /// When the oldest change came of which the client has not accepted all yet; 0 when there is none.
  private var unsettledSince: UInt64 = 0
  /// When something was last heard or said of a type, by its URL.
  private(set) var spokenAt: [String: UInt64] = [:]

  /// What the client is sent of its own; nil: it has not proved who it is.
  private var secrets: StreamSecrets?
  /// The certificates that it has asked for which rules name by their Secret.
  private var credentials: StreamCredentials
  /// The only type that it is for, by its URL; nil: it is for all.
  private let onlyType: String?
  /// It says that it lives elsewhere.
  private var isForeign = false

  init(
    _ call: RPCServerCall, _ variant: StreamState.Variant, of type: String?, number: UInt64,
    from caller: ControlPlane.Caller?, on server: MeshServer
  ) {
    secrets = caller.map(StreamSecrets.init)
    credentials = StreamCredentials(of: caller?.namespace)
    onlyType = type
    self.call = call
    self.server = server
    self.number = number
    state = StreamState(variant)
  }

  private var isDelta: Bool { state.variant == .delta }

  /// Where the client is.
  var peer: String { call.peer.description }

  // MARK: The call

  func received(_ message: [UInt8]) {
    do {
      var request = try isDelta ? readDelta(message) : readWorld(message)
      if let onlyType {
        // The method says it already.
        if request.type.isEmpty { request.type = onlyType }
        guard request.type == onlyType else {
          let kind = Self.name(of: onlyType)
          return refuse("'\(Self.shorten(request.type))' on a stream of type \(kind)")
        }
      }
      guard !isForeign else { return refuseForeigner() }
      guard let node else {
        return refuse("the first request names no node")
      }
      guard request.type != ResourceSet.TypeURL.health else {
        // Nothing is asked: it is told how the application behind the proxy is.
        let problem = request.refusal.map { Self.shorten($0.isEmpty ? "not healthy" : $0) }
        return server.source.reported(problem, stream: number)
      }
      if request.type == ResourceSet.TypeURL.secret {
        secrets?.want(request.names)
        want(request.names, but: request.unwanted, for: node)
        lookAtSecrets()
      }
      let (meaning, pushes) = try state.take(request, of: resources(for: node))
      spokenAt[request.type] = fl_realtime_ns()
      count(meaning, request)
      log(request, meaning)
      send(pushes)
      settle()
    } catch let violation as StreamViolation {
      refuse(violation.description)
    } catch {
      refuse("the request cannot be read: \(error)")
    }
  }

  func clientFinished() { call.finish(.ok) }

  func sendable() { call.resume() }

  func ended() {
    if let node {
      ProcessLog.shared.info(.grpc, "\(title): disconnected")
      server.source.disconnected(node, stream: number)
    }
    server.ended(self)
  }

  private func refuse(_ reason: String) {
    ProcessLog.shared.warning(.grpc, "\(title): \(reason)")
    call.finish(RPCStatus(.invalidArgument, reason))
  }

  /// What a proxy is sent depends on where it lives, so it has to live where it says (Istio:
  /// `PILOT_ENABLE_XDS_IDENTITY_CHECK`).
  private func refuseForeigner() {
    server.secured?.onForeignNode()
    call.finish(
      RPCStatus(.permissionDenied, "the node's namespace is not that of the caller's identity"))
  }

  /// There is something else to serve.
  /// - Parameter since: when it changed, in nanoseconds of the monotonic clock.
  func publish(since: UInt64) {
    guard let node else { return }
    let started = fl_monotonic_ns()
    credentials.look(in: server.source, for: node)
    let pushes = state.publish(resources(for: node))
    guard !pushes.isEmpty else { return }
    if unsettledSince == 0 { unsettledSince = since }
    send(pushes)
    server.metrics.pushTime.observe(Double(fl_monotonic_ns() - started) / 1e9)
  }

  /// Everything for the client: what its source has, and its own secrets.
  func resources(for node: ProxyNode) -> ResourceSet {
    let common = server.source.resources(for: node)
    return secrets.map { common.adding($0.layer).adding(credentials.layer) } ?? common
  }

  // MARK: Secrets

  private func want(_ names: [String], but unwanted: [String], for node: ProxyNode) {
    credentials.forget(unwanted)
    for (name, refusal) in credentials.want(names) {
      server.metrics.secretRefusals[refusal.rawValue, default: 0] += 1
      ProcessLog.shared.warning(
        .secret, "\(title): secret '\(Self.shorten(name))' is refused: \(refusal.reason)")
    }
    credentials.look(in: server.source, for: node)
  }

  /// Sends secrets that are due.
  func renewSecrets() {
    guard let node, lookAtSecrets() else { return }
    send(state.publish(resources(for: node)))
  }

  /// Whether there are others.
  @discardableResult
  private func lookAtSecrets() -> Bool {
    guard let port = server.secured else { return false }
    let now = Int(fl_realtime_ns() / 1_000_000_000)
    return secrets?.look(at: now, roots: port.roots, revision: port.revision()) ?? false
  }

  /// Why the client is not sent a secret that it has asked for; nil when it is.
  var missingSecret: String? {
    if let refused = credentials.refused.first {
      return "'\(Self.shorten(refused.key))' is not sent: \(refused.value.reason)"
    }
    guard secrets == nil, let wanted = state.subscriptions[ResourceSet.TypeURL.secret],
      wanted.names.contains(StreamSecrets.certificate),
      (wanted.sent[StreamSecrets.certificate] ?? SentVersions.absent) == SentVersions.absent
    else { return nil }
    return "no certificate is sent to a client that has not proved who it is: "
      + "it has to come to the secured port"
  }

  // MARK: Convergence

  /// Whether everything that was sent has been spoken of.
  var isSettled: Bool { state.subscriptions.values.allSatisfy { !$0.isAwaitingAnswer } }

  private func settle() {
    guard unsettledSince > 0, isSettled else { return }
    server.metrics.convergence.observe(Double(fl_monotonic_ns() - unsettledSince) / 1e9)
    unsettledSince = 0
  }

  private func count(_ meaning: RequestMeaning, _ request: StreamRequest) {
    let type = ResourceSet.TypeURL.shortName(request.type)
    switch meaning {
    case .refusal: server.metrics.rejects[type, default: 0] += 1
    case .stale: server.metrics.expiredNonces[type, default: 0] += 1
    case .subscription, .acceptance: break
    }
  }

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
  private func introduce(_ wire: Envoy_Config_Core_V3_Node) {
    guard node == nil, !wire.id.isEmpty else { return }
    let more =
      (try? Fairlead_Mesh_Envoy_V1_ClientNode(serializedBytes: wire.serializedBytes() as [UInt8]))
      ?? .init()
    let version = more.userAgentBuildVersion.version
    var made = ProxyNode(
      id: Self.shorten(wire.id), cluster: Self.shorten(wire.cluster), metadata: wire.metadata,
      userAgent: wire.userAgentName,
      locality: MeshLocality(
        region: wire.locality.region, zone: wire.locality.zone, subzone: wire.locality.subZone))
    if !wire.userAgentVersion.isEmpty {
      made.userAgent += " " + wire.userAgentVersion
    } else if more.hasUserAgentBuildVersion {
      made.userAgent += " \(version.majorNumber).\(version.minorNumber).\(version.patch)"
    }
    if secrets != nil {
      made.hasCertificate = true
      made.hasProvenIdentity = true
    }
    if let namespace = secrets?.caller.namespace, made.namespace != namespace {
      isForeign = true
      return ProcessLog.shared.warning(
        .grpc,
        "node '\(made.id)' (\(peer)) says that it lives in namespace "
          + "'\(Self.shorten(made.namespace))', and has the identity of one in '\(namespace)'")
    }
    node = made
    let variant = isDelta ? "delta" : "state of the world"
    ProcessLog.shared.info(
      .grpc, "\(title): connected, \(made.client.rawValue), \(variant)")
    server.source.connected(made, stream: number)
  }

  // MARK: Responses

  private func send(_ pushes: [Push]) {
    for push in pushes {
      server.metrics.pushes[ResourceSet.TypeURL.shortName(push.type), default: 0] += 1
      spokenAt[push.type] = fl_realtime_ns()
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
    "node '\(node?.id ?? "")' (\(call.peer.description))"
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
