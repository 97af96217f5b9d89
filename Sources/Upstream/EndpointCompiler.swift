import Engine
import ResourceModel
import Resources
import SwiftProtobuf

/// Compiles the endpoints of one cluster.
package struct EndpointCompiler {
  let diagnostics: Diagnostics
  let discovery: ClusterConfig.Discovery

  /// - Parameter discovery: how the cluster learns its hosts; what is sent for it are hosts already.
  package init(diagnostics: Diagnostics, discovery: ClusterConfig.Discovery) {
    self.diagnostics = diagnostics
    self.discovery = discovery
  }

  /// Compiles what stands at a path.
  package func compile(
    _ assignment: Envoy_Config_Endpoint_V3_ClusterLoadAssignment, at path: ConfigPath
  ) -> [Ref<EndpointConfig>] {
    var endpoints: [Ref<EndpointConfig>] = []
    var weight: UInt64 = 0
    for (position, group) in assignment.endpoints.enumerated() {
      let groupPath = path.field("endpoints").index(position)
      let locality = Ref.configured(
        LocalityConfig(
          region: .configured(group.locality.region), zone: .configured(group.locality.zone),
          subZone: .configured(group.locality.subZone)))
      for (index, endpoint) in group.lbEndpoints.enumerated() {
        let endpointPath = groupPath.field("lb_endpoints").index(index)
        weight += UInt64(Self.weight(endpoint))
        endpoints.append(
          compile(
            endpoint, index: endpoints.count,
            priority: min(group.priority, UInt32(ConfigBounds.priorities - 1)),
            locality: locality, at: endpointPath))
      }
    }
    if weight > UInt64(UInt32.max) {
      diagnostics.error(
        at: path.field("endpoints"), "the weights add up to more than \(UInt32.max)")
    }
    if discovery == .logicalDNS, endpoints.count != 1 {
      diagnostics.error(
        at: path.field("endpoints"),
        "a LOGICAL_DNS cluster has exactly one endpoint, found \(endpoints.count); "
          + "did you mean STRICT_DNS?")
    }
    return endpoints
  }

  private func compile(
    _ endpoint: Envoy_Config_Endpoint_V3_LbEndpoint, index: Int, priority: UInt32,
    locality: Ref<LocalityConfig>, at path: ConfigPath
  ) -> Ref<EndpointConfig> {
    let inner = endpoint.endpoint
    let addressPath = path.field("endpoint").field("address")
    let socket = inner.address.socketAddress
    let isFixed = discovery == .fixed || discovery == .assigned
    let addresses = isFixed ? self.addresses(inner, at: path.field("endpoint")) : []
    if !isFixed { checkName(inner, at: path.field("endpoint")) }
    if endpoint.hasLoadBalancingWeight, endpoint.loadBalancingWeight.value == 0 {
      diagnostics.error(at: path.field("load_balancing_weight"), "expected at least 1, found 0")
    }
    if case .socketAddress? = inner.address.address, socket.portValue == 0 {
      diagnostics.warning(
        at: addressPath.field("socket_address"), "nothing can be reached at port 0")
    }
    HealthCheckCompiler(diagnostics: diagnostics).check(
      inner.healthCheckConfig.hostname,
      at: path.field("endpoint").field("health_check_config").field("hostname"))
    return .configured(
      EndpointConfig(
        index: index, dnsName: isFixed ? .empty : .configured(socket.address),
        port: UInt16(clamping: socket.portValue), addresses: .configured(addresses),
        hostname: .configured(inner.hostname), weight: Self.weight(endpoint), priority: priority,
        health: endpoint.healthStatus.health,
        healthCheckPort: UInt16(clamping: inner.healthCheckConfig.portValue),
        healthCheckName: .configured(inner.healthCheckConfig.hostname),
        isUnchecked: inner.healthCheckConfig.disableActiveHealthCheck, locality: locality,
        socketLabels: SocketMatchCompiler.labels(endpoint.metadata, at: path, diagnostics)))
  }

  private static func weight(_ endpoint: Envoy_Config_Endpoint_V3_LbEndpoint) -> UInt32 {
    endpoint.hasLoadBalancingWeight ? max(1, endpoint.loadBalancingWeight.value) : 1
  }

  // MARK: Addresses

  /// A STATIC endpoint's address, and those that are tried after it.
  private func addresses(
    _ endpoint: Envoy_Config_Endpoint_V3_Endpoint, at path: ConfigPath
  ) -> [SocketAddress] {
    let additional = path.field("additional_addresses")
    var addresses = [address(endpoint.address, at: path.field("address"))]
    for (index, extra) in endpoint.additionalAddresses.enumerated() {
      addresses.append(address(extra.address, at: additional.index(index).field("address")))
    }
    if addresses.count > ConfigBounds.addressesPerHost {
      diagnostics.error(
        at: additional,
        "an endpoint has at most \(ConfigBounds.addressesPerHost) addresses, "
          + "found \(addresses.count)")
    }
    return addresses.prefix(ConfigBounds.addressesPerHost).compactMap(\.self)
  }

  private func address(
    _ address: Envoy_Config_Core_V3_Address, at path: ConfigPath
  ) -> SocketAddress? {
    switch address.address {
    case .pipe(let pipe):
      if let result = SocketAddress(unixPath: pipe.path) { return result }
      diagnostics.error(
        at: path.field("pipe").field("path"), "a Unix socket's path has 1 to 107 bytes")
    case .socketAddress(let socket):
      let port = UInt16(exactly: socket.portValue)
      if port == nil { reportPort(socket, at: path.field("socket_address")) }
      if let result = SocketAddress(ip: socket.address, port: port ?? 0) { return result }
      diagnostics.error(
        at: path.field("socket_address").field("address"),
        "'\(socket.address)' is not an IP address, which \(clusterPhrase) needs; "
          + "did you mean type: STRICT_DNS?")
    case nil:
      diagnostics.error(at: path, "missing")
    }
    return nil
  }

  private var clusterPhrase: String { discovery == .fixed ? "a STATIC cluster" : "EDS" }

  /// A DNS cluster's endpoint is a name and a port.
  private func checkName(_ endpoint: Envoy_Config_Endpoint_V3_Endpoint, at path: ConfigPath) {
    let addressPath = path.field("address")
    switch endpoint.address.address {
    case .socketAddress(let socket):
      let place = addressPath.field("socket_address")
      if socket.address.isEmpty || socket.address.utf8.count > Self.longestName {
        diagnostics.error(
          at: place.field("address"), "a name has 1 to \(Self.longestName) bytes")
      }
      if UInt16(exactly: socket.portValue) == nil { reportPort(socket, at: place) }
    case .pipe:
      diagnostics.error(
        at: addressPath.field("pipe"),
        "a DNS cluster resolves names; a Unix socket goes with type: STATIC")
    case nil:
      diagnostics.error(at: addressPath, "missing")
    }
    if !endpoint.additionalAddresses.isEmpty {
      diagnostics.error(
        at: path.field("additional_addresses"), "goes with STATIC clusters only")
    }
  }

  /// RFC 1035 §2.3.4, without the length octet and the root's.
  private static let longestName = 253

  private func reportPort(_ socket: Envoy_Config_Core_V3_SocketAddress, at path: ConfigPath) {
    diagnostics.error(
      at: path.field("port_value"), "expected at most 65535, found \(socket.portValue)")
  }
}

extension Envoy_Config_Core_V3_HealthStatus {
  fileprivate var health: HostHealth {
    switch self {
    case .unknown, .healthy, .UNRECOGNIZED: .healthy
    case .degraded: .degraded
    case .unhealthy, .draining, .timeout: .unhealthy
    }
  }
}

extension Google_Protobuf_Duration {
  /// Whole milliseconds, at least one for any time that is not zero.
  var milliseconds: UInt64 {
    guard seconds > 0 || nanos > 0 else { return 0 }
    let bounded = UInt64(clamping: min(seconds, ConfigLimits.durationSeconds))
    return max(1, bounded * 1000 + UInt64(max(0, nanos)) / 1_000_000)
  }

  /// The same for a limit, where zero means none.
  var limit: UInt64? {
    let value = milliseconds
    return value == 0 ? nil : value
  }
}
