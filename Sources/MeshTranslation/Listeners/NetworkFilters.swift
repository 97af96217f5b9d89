import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// The filters of filter chains, as every chain of the mesh has them.
struct NetworkFilters {
  typealias Filter = Envoy_Config_Listener_V3_Filter
  typealias Manager =
    Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_HttpConnectionManager
  typealias HTTPFilter = Envoy_Extensions_Filters_Network_HttpConnectionManager_V3_HttpFilter

  let settings: MeshSettings
  let profile: ClientProfile
  /// What is written of requests and connections.
  let accessLogs: [AccessLogs.Log]
  /// Who may speak to the workload; nil for its own connections.
  var authorization: AuthorizationFilters?
  /// Whose tokens it believes; nil for its own connections.
  var tokens: TokenFilters?

  /// Which way requests go through the proxy.
  enum Direction {
    case inbound
    case outbound
  }

  // MARK: HTTP

  /// A connection manager that takes its routes from the control plane.
  func http(_ direction: Direction, statPrefix: String, routes name: String) -> Filter {
    var manager = manager(direction, statPrefix)
    manager.rds = .with {
      $0.routeConfigName = name
      $0.configSource = .fromControlPlane
    }
    return Self.filter(manager)
  }

  /// A connection manager with routes of its own.
  func http(
    _ direction: Direction, statPrefix: String,
    inline routes: Envoy_Config_Route_V3_RouteConfiguration
  ) -> Filter {
    var manager = manager(direction, statPrefix)
    manager.routeConfig = routes
    return Self.filter(manager)
  }

  /// A connection manager of a gateway: its clients are strangers.
  func gateway(statPrefix: String, routes name: String) -> Filter {
    var manager = manager(.outbound, statPrefix)
    manager.useRemoteAddress = .init(true)
    manager.forwardClientCertDetails = .sanitizeSet
    manager.setCurrentClientCertDetails = .with {
      $0.subject = .init(true)
      $0.cert = true
      $0.dns = true
      $0.uri = true
    }
    manager.serverName = "istio-envoy"
    manager.rds = .with {
      $0.routeConfigName = name
      $0.configSource = .fromControlPlane
    }
    return Self.filter(manager)
  }

  private static func filter(_ manager: Manager) -> Filter {
    .with {
      $0.name = "envoy.filters.network.http_connection_manager"
      $0.typedConfig = manager.packed
    }
  }

  private func manager(_ direction: Direction, _ statPrefix: String) -> Manager {
    .with {
      $0.statPrefix = statPrefix
      $0.codecType = .auto
      $0.accessLog = accessLogs
      $0.httpFilters = httpFilters(direction)
      // Istio's: an application's own bounds are its own affair.
      $0.streamIdleTimeout = .init()
      $0.useRemoteAddress = .init(false)
      $0.normalizePath = .init(true)
      $0.pathWithEscapedSlashesAction = .keepUnchanged
      $0.upgradeConfigs = [.with { $0.upgradeType = "websocket" }]
      if direction == .inbound {
        $0.serverHeaderTransformation = .passThrough
        $0.serverName = "istio-envoy"
        $0.forwardClientCertDetails = .appendForward
        $0.setCurrentClientCertDetails = .with {
          $0.subject = .init(true)
          $0.dns = true
          $0.uri = true
        }
      } else {
        $0.serverName = "envoy"
      }
    }
  }

  private func httpFilters(_ direction: Direction) -> [HTTPFilter] {
    var filters = (tokens?.http ?? []) + (authorization?.http ?? [])
    filters.append(
      Self.http(
        "envoy.filters.http.fault", Envoy_Extensions_Filters_Http_Fault_V3_HTTPFault().packed))
    if profile.answersCORS {
      filters.append(
        Self.http(
          "envoy.filters.http.cors",
          .with {
            $0.typeURL = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"
          }))
    }
    return filters + [Self.router]
  }

  /// What ends every chain of HTTP filters.
  static let router = http(
    "envoy.filters.http.router", Envoy_Extensions_Filters_Http_Router_V3_Router().packed)

  private static func http(_ name: String, _ config: Google_Protobuf_Any) -> HTTPFilter {
    .with {
      $0.name = name
      $0.typedConfig = config
    }
  }

  // MARK: TCP

  /// Bytes to one cluster, or shares of connections to several.
  func tcp(statPrefix: String, _ clusters: [(name: String, weight: UInt32)]) -> [Filter] {
    let proxy = Envoy_Extensions_Filters_Network_TcpProxy_V3_TcpProxy.with {
      $0.statPrefix = statPrefix
      $0.accessLog = accessLogs
      if clusters.count == 1 {
        $0.cluster = clusters[0].name
      } else {
        $0.weightedClusters = .with {
          $0.clusters = clusters.map { one in
            .with {
              $0.name = one.name
              $0.weight = one.weight
            }
          }
        }
      }
    }
    let last = Filter.with {
      $0.name = "envoy.filters.network.tcp_proxy"
      $0.typedConfig = proxy.packed
    }
    return (authorization?.network ?? []) + [last]
  }
}

/// The filters that look at a connection before its chain is chosen.
enum ListenerFilters {
  typealias Filter = Envoy_Config_Listener_V3_ListenerFilter

  static let originalDestination = filter(
    "envoy.filters.listener.original_dst",
    Envoy_Extensions_Filters_Listener_OriginalDst_V3_OriginalDst().packed)
  static let tls = filter(
    "envoy.filters.listener.tls_inspector",
    Envoy_Extensions_Filters_Listener_TlsInspector_V3_TlsInspector().packed)
  static let http = filter(
    "envoy.filters.listener.http_inspector",
    Envoy_Extensions_Filters_Listener_HttpInspector_V3_HttpInspector().packed)

  private static func filter(_ name: String, _ config: Google_Protobuf_Any) -> Filter {
    .with {
      $0.name = name
      $0.typedConfig = config
    }
  }
}
