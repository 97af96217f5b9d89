import MeshMessages
import MeshModel
import SwiftProtobuf

/// What holds for the whole mesh: MeshConfig, with its defaults (Istio's, where a comment does not say
/// otherwise).
package struct MeshSettings: Sendable {
  package var rootNamespace = "istio-system"
  package var trustDomain = "cluster.local"
  package var trustDomainAliases: [String] = []
  package var outboundPort: UInt32 = 15001
  package var inboundPort: UInt32 = 15006
  package var connectTimeout = ProtobufDuration(seconds: 10)
  package var dnsRefreshRate = ProtobufDuration(seconds: 60)
  package var protocolDetectionTimeout = ProtobufDuration()
  /// Requests to hosts that no service has go where their client meant (`ALLOW_ANY`).
  package var allowsAnyOutbound = true
  package var usesAutoMutualTLS = true
  package var httpProxyPort: UInt32?
  /// Istio's default is no access log; ours is standard output.
  package var accessLogFile = "/dev/stdout"
  package var accessLogFormat = ""
  package var accessLogIsJSON = false
  /// Who writes access logs where no Telemetry says it; empty: the file above is written.
  package var logProviders: [String] = []
  /// What rules name as providers.
  package var extensionProviders: [Istio_Mesh_V1alpha1_MeshConfig.ExtensionProvider] = []
  /// What proxies are started with, where nothing says otherwise.
  package var proxyDefaults = Istio_Mesh_V1alpha1_ProxyConfig()
  /// Where all this is written; nil: nowhere.
  package var origin: ObjectID?
  package var defaultRetry: Istio_Networking_V1alpha3_HTTPRetry?
  package var upgradesToHTTP2 = false
  package var localityLB: Istio_Networking_V1alpha3_LocalityLoadBalancerSetting?
  package var tcpKeepalive:
    Istio_Networking_V1alpha3_ConnectionPoolSettings.TCPSettings.TcpKeepalive?
  package var serviceExportTo = ["*"]
  package var virtualServiceExportTo = ["*"]
  package var destinationRuleExportTo = ["*"]

  package init() {}

  /// The settings of the first MeshConfig there is; all defaults without one.
  /// - Parameter trustDomain: where it names none.
  package init(_ config: MeshConfig, trustDomain: String = "cluster.local") {
    self.trustDomain = trustDomain
    if !config.rootNamespace.isEmpty { rootNamespace = config.rootNamespace }
    if !config.trustDomain.isEmpty { self.trustDomain = config.trustDomain }
    trustDomainAliases = config.trustDomainAliases
    if let port = UInt32(exactly: config.proxyListenPort), port > 0 { outboundPort = port }
    if let port = UInt32(exactly: config.proxyInboundListenPort), port > 0 { inboundPort = port }
    if let port = UInt32(exactly: config.proxyHTTPPort), port > 0 { httpProxyPort = port }
    if config.hasConnectTimeout { connectTimeout = config.connectTimeout }
    if config.hasDnsRefreshRate { dnsRefreshRate = config.dnsRefreshRate }
    if config.hasProtocolDetectionTimeout {
      protocolDetectionTimeout = config.protocolDetectionTimeout
    }
    if config.hasOutboundTrafficPolicy {
      allowsAnyOutbound = config.outboundTrafficPolicy.mode != .registryOnly
    }
    if config.hasEnableAutoMtls { usesAutoMutualTLS = config.enableAutoMtls.value }
    if !config.accessLogFile.isEmpty { accessLogFile = config.accessLogFile }
    accessLogFormat = config.accessLogFormat
    accessLogIsJSON = config.accessLogEncoding == .json
    logProviders = config.defaultProviders.accessLogging
    extensionProviders = config.extensionProviders
    proxyDefaults = config.defaultConfig
    if config.hasDefaultHTTPRetryPolicy { defaultRetry = config.defaultHTTPRetryPolicy }
    upgradesToHTTP2 = config.h2UpgradePolicy == .upgrade
    if config.hasLocalityLbSetting { localityLB = config.localityLbSetting }
    if config.hasTcpKeepalive { tcpKeepalive = config.tcpKeepalive }
    if !config.defaultServiceExportTo.isEmpty { serviceExportTo = config.defaultServiceExportTo }
    if !config.defaultVirtualServiceExportTo.isEmpty {
      virtualServiceExportTo = config.defaultVirtualServiceExportTo
    }
    if !config.defaultDestinationRuleExportTo.isEmpty {
      destinationRuleExportTo = config.defaultDestinationRuleExportTo
    }
  }

  /// The provider that is there without being written: the mesh's format, to standard output.
  package static let builtInProvider = "envoy"

  /// Whether rules may name a provider. Case does not matter, as in Istio.
  package func hasProvider(_ name: String) -> Bool {
    ([Self.builtInProvider, "prometheus"] + extensionProviders.map(\.name)).contains {
      $0.lowercased() == name.lowercased()
    }
  }
}
