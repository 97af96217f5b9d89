import ResourceModel

/// How the application behind a proxy is, for a control plane that sends requests to those only that are
/// well.
package enum ApplicationHealth: Equatable {
  case ready
  /// With the reason.
  case unready(String)

  /// Istio's: no resource, but what a proxy says of its application.
  static let url = "type.googleapis.com/istio.v1.HealthInformation"

  /// As it travels: a request of that type, which asks for nothing.
  /// - Parameter node: nil when the server has heard it.
  func bytes(
    _ variant: DiscoveryVariant, node: Envoy_Config_Core_V3_Node?
  ) throws -> [UInt8] {
    var status: Google_Rpc_Status?
    if case .unready(let reason) = self {
      status = .with {
        $0.code = Self.unreadyCode
        $0.message = XDSLimits.shorten(reason)
      }
    }
    switch variant {
    case .stateOfTheWorld:
      return try Envoy_Service_Discovery_V3_DiscoveryRequest.with {
        if let node { $0.node = node }
        $0.typeURL = Self.url
        if let status { $0.errorDetail = status }
      }.serializedBytes()
    case .delta:
      return try Envoy_Service_Discovery_V3_DeltaDiscoveryRequest.with {
        if let node { $0.node = node }
        $0.typeURL = Self.url
        if let status { $0.errorDetail = status }
      }.serializedBytes()
    }
  }

  /// What Istio's agent says, in the words of HTTP.
  private static let unreadyCode: Int32 = 500
}

extension XDSClient {
  /// Tells the server how the application is, now and at the beginning of every later stream.
  package func report(_ health: ApplicationHealth) {
    self.health = health
    sendHealth()
  }
}
