import Engine
import GRPC
import Telemetry

/// Serves resources to proxies, over the two variants of aggregated discovery, and of discovery of single
/// types. Belongs to one loop.
package final class MeshServer {
  let server: RPCServer
  private(set) var streams: [ObjectIdentifier: DiscoveryStream] = [:]
  let source: ResourceSource
  let metrics = MeshMetrics()
  private var lastConnection: UInt64 = 0
  private let timer: LoopTimer

  /// How often it is looked which certificates are due.
  private static let lookMilliseconds: UInt64 = 1000

  /// What is served over TLS; nil: nothing.
  var secured: ControlPlane.SecuredPort?

  private static let service = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"

  init(_ runtime: RPCRuntime, source: ResourceSource) {
    server = RPCServer(runtime)
    timer = LoopTimer(on: runtime.loop)
    self.source = source
    server.methods = [
      Self.service + "StreamAggregatedResources": { [unowned self] in begin($0, .stateOfTheWorld) },
      Self.service + "DeltaAggregatedResources": { [unowned self] in begin($0, .delta) },
    ]
    for (type, package, service, noun) in Self.singleTypes {
      let path = "/envoy.service.\(package).v3.\(service)DiscoveryService/"
      server.methods[path + "Stream" + noun] = { [unowned self] in
        begin($0, .stateOfTheWorld, of: type)
      }
      server.methods[path + "Delta" + noun] = { [unowned self] in begin($0, .delta, of: type) }
    }
  }

  private typealias TypeURL = ResourceSet.TypeURL

  private static let singleTypes = [
    (TypeURL.cluster, "cluster", "Cluster", "Clusters"),
    (TypeURL.endpoints, "endpoint", "Endpoint", "Endpoints"),
    (TypeURL.listener, "listener", "Listener", "Listeners"),
    (TypeURL.routes, "route", "Route", "Routes"),
    (TypeURL.secret, "secret", "Secret", "Secrets"),
    (TypeURL.extensionConfig, "extension", "ExtensionConfig", "ExtensionConfigs"),
  ]

  /// - Parameter type: the only one that the stream is for, by its URL.
  private func begin(
    _ call: RPCServerCall, _ variant: StreamState.Variant, of type: String? = nil
  ) -> RPCServerHandler {
    var caller: ControlPlane.Caller?
    if call.isSecured, let secured {
      do throws(RPCStatus) {
        caller = try secured.caller(call)
      } catch {
        call.finish(error)
      }
    }
    lastConnection += 1
    let stream = DiscoveryStream(
      call, variant, of: type, number: lastConnection, from: caller, on: self)
    streams[ObjectIdentifier(stream)] = stream
    return stream
  }

  func ended(_ stream: DiscoveryStream) { streams[ObjectIdentifier(stream)] = nil }

  /// The streams of clients that have said who they are, in the order in which they came.
  var clients: [DiscoveryStream] {
    streams.values.filter { $0.node != nil }.sorted { $0.number < $1.number }
  }

  /// Every client has accepted everything that there is for it.
  var isSettled: Bool {
    streams.values.allSatisfy { stream in
      guard let node = stream.node else { return true }
      let set = stream.resources(for: node)
      return !stream.state.subscriptions.isEmpty
        && stream.state.subscriptions.allSatisfy { $0.value.isSettled(at: set.digests(of: $0.key)) }
    }
  }

  /// Listens; returns the address with the port that the kernel chose, if it was to choose.
  package func listen(on address: SocketAddress) throws(RPCServer.ListenError) -> SocketAddress {
    try server.listen(on: address)
  }

  /// The same over TLS, for those who can be known.
  func listen(on port: ControlPlane.SecuredPort) throws(RPCServer.ListenError) -> SocketAddress {
    secured = port
    server.onRefusal = port.onRefusal
    server.methods.merge(port.methods) { _, newer in newer }
    waitForLook()
    return try server.listen(on: port.address, security: port.security)
  }

  /// Clients are sent certificates when those they have are half through their lives, and whom to trust
  /// when that changes.
  private func waitForLook() {
    timer.set(milliseconds: Self.lookMilliseconds) { [unowned self] in
      for stream in clients { stream.renewSecrets() }
      waitForLook()
    }
  }

  /// The source has something else; clients hear of what has changed for them.
  /// - Parameter since: when it changed, in nanoseconds of the monotonic clock.
  func publish(since: UInt64) {
    for stream in clients { stream.publish(since: since) }
  }

  /// Takes no more connections, and ends those there are.
  package func close() { server.close() }
}
