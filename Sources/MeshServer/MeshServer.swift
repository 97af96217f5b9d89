import Engine
import GRPC
import Telemetry

/// Serves resources to proxies, over the two variants of aggregated discovery. Belongs to one loop.
package final class MeshServer {
  private let server: RPCServer
  private var streams: [ObjectIdentifier: DiscoveryStream] = [:]
  private(set) var resources = ResourceSet()

  private static let service = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"

  package init(_ runtime: RPCRuntime) {
    server = RPCServer(runtime)
    server.methods = [
      Self.service + "StreamAggregatedResources": { [unowned self] in begin($0, .stateOfTheWorld) },
      Self.service + "DeltaAggregatedResources": { [unowned self] in begin($0, .delta) },
    ]
  }

  private func begin(_ call: RPCServerCall, _ variant: StreamState.Variant) -> RPCServerHandler {
    let stream = DiscoveryStream(call, variant, on: self)
    streams[ObjectIdentifier(stream)] = stream
    return stream
  }

  func ended(_ stream: DiscoveryStream) { streams[ObjectIdentifier(stream)] = nil }

  /// Listens; returns the address with the port that the kernel chose, if it was to choose.
  package func listen(on address: SocketAddress) throws(RPCServer.ListenError) -> SocketAddress {
    try server.listen(on: address)
  }

  /// Serves something else from now on; clients hear of what has changed for them.
  func publish(_ resources: ResourceSet) {
    self.resources = resources
    for stream in streams.values { stream.publish() }
  }

  /// Takes no more connections, and ends those there are.
  package func close() { server.close() }
}
