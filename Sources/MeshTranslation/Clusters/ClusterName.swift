/// What Istio calls clusters: `<direction>|<port>|<subset>|<host>`.
package enum ClusterName {
  package static let blackHole = "BlackHoleCluster"
  package static let passthrough = "PassthroughCluster"
  package static let inboundPassthrough = "InboundPassthroughCluster"

  /// Of a service, as its clients call it.
  package static func outbound(_ host: String, _ port: UInt32, subset: String = "") -> String {
    "outbound|\(port)|\(subset)|\(host)"
  }

  /// Of a workload's own port.
  package static func inbound(_ port: UInt32) -> String { "inbound|\(port)||" }

  /// Of a service, as TLS names it when nothing else says (SNI).
  static func serverName(_ host: String, _ port: UInt32, subset: String) -> String {
    "outbound_.\(port)_.\(subset)_.\(host)"
  }
}
