import CLinux
import Engine
import GRPC
import ResourceModel
import SwiftProtobuf

/// A proxy as its control plane sees it: one aggregated stream on a connection of its own, on which it
/// subscribes as Envoy does and acknowledges everything. Of resources it keeps their names.
final class SimulatedProxy: RPCPersistentStreamHandler {
  private typealias Kind = SimulatedKind
  private typealias Request = Envoy_Service_Discovery_V3_DiscoveryRequest
  private typealias DeltaRequest = Envoy_Service_Discovery_V3_DeltaDiscoveryRequest

  private let channel: RPCChannel
  private var stream: RPCPersistentStream?
  private let node: Envoy_Config_Core_V3_Node
  private let isDelta: Bool
  private var kinds: [Kind: State] = [:]
  /// Whether everything that was asked for has been answered, and acknowledged.
  private(set) var isInSync = false
  private(set) var receivedBytes = 0
  private(set) var receivedMessages = 0
  /// What an endpoint assignment must hold for the proxy to have noticed a change, or must not hold.
  private var watched: (name: String, text: [UInt8], isWanted: Bool)?
  private let onSync: () -> Void
  private let onNotice: () -> Void

  private struct State {
    var isAnswered = false
    var names: Set<String> = []
    var version = ""
    var nonce = ""
  }

  init(
    _ runtime: RPCRuntime, _ options: Options, number: Int, onSync: @escaping () -> Void,
    onNotice: @escaping () -> Void
  ) {
    let address = SocketAddress(ip: options.host, port: options.port)
    channel = RPCChannel(runtime, authority: "control") { address }
    isDelta = options.variant == "delta" || (options.variant == "both" && number % 2 == 1)
    let namespace = "ns\(number % options.namespaces)"
    let ip = "127.9.\(number / 250).\(number % 250 + 1)"
    node = .with {
      $0.id = "sidecar~\(ip)~client-\(number).\(namespace)~\(namespace).svc.cluster.local"
      $0.cluster = "client.\(namespace)"
      $0.userAgentName = "envoy"
      $0.metadata.fields["NAMESPACE"] = .with { $0.stringValue = namespace }
      $0.metadata.fields["LABELS"] = .with {
        $0.structValue.fields["app"] = .with { $0.stringValue = "client-\(number)" }
      }
    }
    self.onSync = onSync
    self.onNotice = onNotice
    let method = isDelta ? "DeltaAggregatedResources" : "StreamAggregatedResources"
    stream = RPCPersistentStream(
      channel, path: "/envoy.service.discovery.v3.AggregatedDiscoveryService/" + method,
      handler: self)
  }

  func start() { stream?.start() }

  /// Calls `onNotice` once when an assignment has come and been acknowledged that holds the text, or
  /// that does not.
  func watch(_ name: String, for text: [UInt8], isWanted: Bool) {
    watched = (name, text, isWanted)
  }

  // MARK: The stream

  func opened() {
    kinds = [:]
    isInSync = false
    ask(.cluster, names: [])
  }

  func ended(_ status: RPCStatus, retryIn milliseconds: UInt64) {}

  func received(_ message: [UInt8]) {
    receivedBytes += message.count
    receivedMessages += 1
    guard let response = SimulatedResponse(message, isDelta: isDelta) else { return }
    var state = kinds[response.kind] ?? State()
    if isDelta || response.kind.isPartial {
      state.names.formUnion(response.resources.map(\.name))
      state.names.subtract(response.removed)
    } else {
      state.names = Set(response.resources.map(\.name))
    }
    state.isAnswered = true
    state.version = response.version
    state.nonce = response.nonce
    kinds[response.kind] = state
    goOn(from: response)
    notice(response)
  }

  /// What Envoy does: it asks for what was named before it says that it accepts what names it.
  private func goOn(from response: SimulatedResponse) {
    switch response.kind {
    case .cluster:
      subscribe(
        .endpoints, to: kinds[.cluster]?.names.filter { $0.hasPrefix("outbound|") } ?? [])
      acknowledge(.cluster)
    case .endpoints:
      acknowledge(.endpoints)
      if kinds[.listener] == nil { ask(.listener, names: []) }
    case .listener:
      subscribe(.routes, to: response.routeNames)
      acknowledge(.listener)
    case .routes: acknowledge(.routes)
    }
    guard !isInSync, SimulatedKind.allCases.allSatisfy({ kinds[$0]?.isAnswered ?? false }),
      kinds[.endpoints]?.names.isSuperset(of: asked[.endpoints] ?? []) ?? false,
      kinds[.routes]?.names.isSuperset(of: asked[.routes] ?? []) ?? false
    else { return }
    isInSync = true
    onSync()
  }

  private func notice(_ response: SimulatedResponse) {
    guard response.kind == .endpoints, let watched,
      let resource = response.resources.first(where: { $0.name == watched.name }),
      resource.contains(watched.text) == watched.isWanted
    else { return }
    self.watched = nil
    onNotice()
  }

  // MARK: Requests

  /// The names last asked for, of types that are asked for by name.
  private var asked: [SimulatedKind: Set<String>] = [:]

  private func subscribe(_ kind: SimulatedKind, to names: Set<String>) {
    guard kinds[kind] != nil, let before = asked[kind] else {
      asked[kind] = names
      return ask(kind, names: names)
    }
    guard names != before else { return }
    asked[kind] = names
    if isDelta {
      write(
        DeltaRequest.with {
          $0.typeURL = kind.typeURL
          $0.resourceNamesSubscribe = names.subtracting(before).sorted()
          $0.resourceNamesUnsubscribe = before.subtracting(names).sorted()
        })
    } else {
      acknowledge(kind)
    }
  }

  private func ask(_ kind: SimulatedKind, names: Set<String>) {
    kinds[kind] = State()
    if isDelta {
      write(
        DeltaRequest.with {
          $0.node = node
          $0.typeURL = kind.typeURL
          $0.resourceNamesSubscribe = names.sorted()
        })
    } else {
      write(
        Request.with {
          $0.node = node
          $0.typeURL = kind.typeURL
          $0.resourceNames = names.sorted()
        })
    }
  }

  private func acknowledge(_ kind: SimulatedKind) {
    guard let state = kinds[kind] else { return }
    if isDelta {
      write(
        DeltaRequest.with {
          $0.typeURL = kind.typeURL
          $0.responseNonce = state.nonce
        })
    } else {
      write(
        Request.with {
          $0.typeURL = kind.typeURL
          $0.versionInfo = state.version
          $0.responseNonce = state.nonce
          $0.resourceNames = (asked[kind] ?? []).sorted()
        })
    }
  }

  private func write(_ request: some Message) {
    guard let bytes: [UInt8] = try? request.serializedBytes() else { return }
    stream?.send(bytes)
  }
}
