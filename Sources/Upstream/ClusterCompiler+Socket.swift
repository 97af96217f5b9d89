import Engine
import Inspection
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

  /// `ProxyProtocolUpstreamTransport`; what is within is compiled where transport sockets are.
  func announcement(_ cluster: Message, at path: ConfigPath) -> Ref<ProxyAnnouncement>? {
    guard case .typedConfig(let any)? = cluster.transportSocket.configType,
      let message = try? ProxyTransport(unpackingAny: any)
    else { return nil }
    let config = message.config
    let place = path.field("transport_socket").field("typed_config").field("config")
    // Version 1 has no room for TLVs: as in Envoy none are sent with it.
    return .configured(
      ProxyAnnouncement(
        version: config.version == .v2 ? .v2 : .v1,
        passed: config.hasPassThroughTlvs
          ? ProxyTLVTypes(config.passThroughTlvs) : ProxyTLVTypes(),
        added: .configured(added(config.addedTlvs, at: place.field("added_tlvs")))))
  }

  /// TLVs as they are on the wire.
  private func added(_ tlvs: [Envoy_Config_Core_V3_TlvEntry], at path: ConfigPath) -> [UInt8] {
    var added: [UInt8] = []
    for (index, tlv) in tlvs.enumerated() {
      let count = tlv.value.count
      guard count > 0, count <= UInt16.max else {
        diagnostics.error(
          at: path.index(index).field("value"),
          count > 0 ? "a TLV holds 65535 bytes, found \(count)" : "missing")
        continue
      }
      added.append(UInt8(truncatingIfNeeded: tlv.type))
      added.append(UInt8(truncatingIfNeeded: count >> 8))
      added.append(UInt8(truncatingIfNeeded: count))
      added += tlv.value
    }
    return added
  }
}

extension ProxyTLVTypes {
  /// `pass_through_tlvs`, of a listener filter or of a cluster.
  package init(_ config: Envoy_Config_Core_V3_ProxyProtocolPassThroughTLVs) {
    self.init()
    if config.matchType == .includeAll { self = .all }
    for type in config.tlvType { insert(UInt8(truncatingIfNeeded: type)) }
  }
}
