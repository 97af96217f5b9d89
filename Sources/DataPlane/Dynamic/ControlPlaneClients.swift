import CLinux
import Engine
import GRPC
import Resources
import Telemetry
import Upstream
import XDSClient

// Streams to control planes: the aggregated one, and those of single subscriptions.
extension Server {
  /// The stream to the control plane that the bootstrap names.
  func makeControlPlane() -> XDSClient? {
    config.controlPlane.flatMap { makeClient($0, for: .aggregated, scope: "") }
  }

  /// A stream; nil when the cluster that leads there is not the bootstrap's.
  /// - Parameter scope: of its statistics; ends with a dot.
  func makeClient(
    _ control: ControlPlaneConfig, for service: DiscoveryService, scope: String
  ) -> XDSClient? {
    guard let cluster = config.clusters.first(where: { $0.message.name == control.cluster })
    else { return nil }
    let settings = cluster.compiled.config
    let route = ControlPlaneRoute(self, to: control.cluster, settings)
    let channel = RPCChannel(
      RPCRuntime(loop: loop), authority: control.authority,
      connectMilliseconds: settings.value.connectTimeout,
      keepalive: settings.value.http.http2Keepalive, source: settings.value.source,
      isSecured: route.isSecured, prepare: route.prepare, address: route.address)
    var node = config.bootstrap.node
    // Whoever sends configuration may choose what a program of this kind understands.
    node.userAgentName = "fairlead"
    // Who sends it clusters has to know whether it can show a certificate of the mesh.
    if options.ownCertificate != nil {
      node.metadata.fields["OWN_CERTIFICATE"] = .with { $0.stringValue = "true" }
    }
    let client = XDSClient(
      channel, control.variant, for: service, node: node,
      tellsNodeOnce: control.tellsNodeOnce, metadata: control.metadata, on: loop)
    let store = config.store
    let connected = store.gauge(scope + "control_plane.connected_state")
    store.main.gaugeSet(connected, 0)
    store.setText(scope + "control_plane.identifier", "")
    let title = service.title
    client.onConnection = { store.main.gaugeSet(connected, $0 ? 1 : 0) }
    client.onIdentifier = { store.setText(scope + "control_plane.identifier", $0) }
    client.onProblem = { ProcessLog.shared.warning(.config, "\(title): \($0)") }
    // One place on disk holds what one stream has sent.
    if service == .aggregated { client.cache = makeCache() }
    return client
  }

  /// Where accepted resources are kept, if that is asked for.
  private func makeCache() -> ResourceCache? {
    guard !options.xdsCache.isEmpty else { return nil }
    let node = config.bootstrap.node
    do throws(FileError) {
      let cache = try ResourceCache(
        options.xdsCache, node: node.id + "\n" + node.cluster, now: { fl_realtime_ns() })
      let store = config.store
      let stored = store.counter("xds_cache.stored")
      let served = store.counter("xds_cache.served")
      let ignored = store.counter("xds_cache.ignored")
      let failed = store.counter("xds_cache.failed")
      cache.onEvent = { event in
        switch event {
        case .stored: store.main.add(stored)
        case .served: store.main.add(served)
        case .ignored: store.main.add(ignored)
        case .failed: store.main.add(failed)
        }
      }
      cache.onProblem = { ProcessLog.shared.warning(.config, "xDS cache: \($0)") }
      return cache
    } catch {
      ProcessLog.shared.warning(.config, "xDS cache: nothing is kept: \(error.message)")
      return nil
    }
  }
}
