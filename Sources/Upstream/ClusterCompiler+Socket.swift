import Engine
import ResourceModel
import Resources
import SwiftProtobuf

// What a cluster says of its connections' sockets.
extension ClusterCompiler {
  private typealias ProxyTransport =
    Envoy_Extensions_TransportSockets_ProxyProtocol_V3_ProxyProtocolUpstreamTransport

  /// `upstream_bind_config`, the cluster's or else the cluster manager's.
  func source(_ cluster: Message, at path: ConfigPath) -> SourceBinding? {
    guard let config = cluster.hasUpstreamBindConfig ? cluster.upstreamBindConfig : bindConfig
    else { return nil }
    let place =
      cluster.hasUpstreamBindConfig
      ? path.field("upstream_bind_config")
      : ConfigPath.root.field("cluster_manager").field("upstream_bind_config")
    let options = SocketOptionCompiler(diagnostics: diagnostics)
      .compile(config.socketOptions, at: place.field("socket_options"))
    for index in config.socketOptions.indices
    where config.socketOptions[index].state != .statePrebind {
      diagnostics.error(
        at: place.field("socket_options").index(index).field("state"),
        "connections that we make have STATE_PREBIND only")
    }
    guard config.hasSourceAddress else {
      return options.isEmpty ? nil : SourceBinding(address: nil, isFree: false, options: options)
    }
    let address = config.sourceAddress
    let port = UInt16(truncatingIfNeeded: address.portValue)
    guard let source = SocketAddress(ip: address.address, port: port) else {
      diagnostics.error(
        at: place.field("source_address").field("address"),
        "expected an IP address, found \"\(address.address)\"")
      return nil
    }
    return SourceBinding(address: source, isFree: config.freebind.value, options: options)
  }

  /// `ProxyProtocolUpstreamTransport` around plain bytes; anything else within is refused, because a
  /// handshake comes before it is known whose request the connection carries.
  func proxyHeader(
    _ cluster: Message, speaks: UpstreamProtocol, at path: ConfigPath
  ) -> ProxyHeaderVersion? {
    let place = path.field("transport_socket").field("typed_config")
    guard case .typedConfig(let any)? = cluster.transportSocket.configType,
      let message = try? ProxyTransport(unpackingAny: any)
    else { return nil }
    let raw = "/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
    if case .typedConfig(let inner)? = message.transportSocket.configType,
      inner.typeURL.hasSuffix(raw)
    {
      if speaks.mayBeHTTP2 {
        diagnostics.error(
          at: place, "HTTP/2 carries many clients' requests on one connection; keep HTTP/1")
      }
      return message.config.version == .v2 ? .v2 : .v1
    }
    diagnostics.error(
      at: place.field("transport_socket"), "the PROXY protocol needs a RawBuffer behind it here")
    return nil
  }
}
