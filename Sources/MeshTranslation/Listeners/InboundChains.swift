import MeshModel
import ResourceModel

/// The filter chains before a port of a workload, by how a client comes: with mutual TLS, with TLS of its
/// own, or without. Laid out as Istio does.
struct InboundChains {
  typealias Chain = Envoy_Config_Listener_V3_FilterChain
  typealias Filter = Envoy_Config_Listener_V3_Filter

  let tls: MeshTLS
  let modes: PeerModes
  /// The proxy can show a certificate.
  let hasCertificate: Bool
  let notes: OmissionNotes

  /// How what comes is read.
  enum Content {
    case requests
    case bytes
    /// Found out when the client speaks.
    case detected
  }

  /// One chain's place: what a client says first, and what is done with it.
  private struct Case {
    var transport = ""
    var protocols: [String] = []
    var isHTTP: Bool
    var isSecured = false
  }

  /// Whether a client's first bytes decide.
  func inspects(_ port: UInt32?) -> Bool { hasCertificate && modes.mode(port) != .disable }

  /// The chains of one port.
  /// - Parameters:
  ///   - port: nil for those that belong to no service.
  ///   - isMatched: connections to other ports come to the same listener.
  ///   - closed: what is done with connections that nobody may begin.
  func chains(
    named name: String, port: UInt32?, isMatched: Bool, _ content: Content,
    requests: () -> [Filter], bytes: () -> [Filter], closed: () -> [Filter]
  ) -> [Chain] {
    func chain(_ filters: [Filter]) -> Chain {
      .with {
        $0.name = name
        $0.filters = filters
        if isMatched, let port { $0.filterChainMatch.destinationPort = .init(port) }
      }
    }
    let mode = modes.mode(port)
    guard hasCertificate || mode != .strict else {
      // In the clear would be against the rule, and with TLS it cannot be.
      if let origin = modes.origin {
        notes.note(
          origin, "mtls.mode",
          "nobody gets in: the proxy has no certificate; it has to come to the control plane's "
            + "secured port, or ask for its own")
      }
      return [chain(closed())]
    }
    return Self.cases(hasCertificate ? mode : .disable, content).map { one in
      var made = chain(one.isHTTP ? requests() : bytes())
      if !one.transport.isEmpty { made.filterChainMatch.transportProtocol = one.transport }
      if !one.protocols.isEmpty { made.filterChainMatch.applicationProtocols = one.protocols }
      if one.isSecured { made.transportSocket = tls.downstream(isHTTP: one.isHTTP) }
      return made
    }
  }

  private static func cases(_ mode: PeerModes.Mode, _ content: Content) -> [Case] {
    let requests = MeshTLS.requestProtocols
    let bytes = MeshTLS.byteProtocols
    let plain = ["http/1.1", "h2c"]
    let (secure, clear) = ("tls", "raw_buffer")
    switch (mode, content) {
    case (.disable, .requests): return [Case(isHTTP: true)]
    case (.disable, .bytes): return [Case(isHTTP: false)]
    case (.disable, .detected):
      return [Case(transport: clear, protocols: plain, isHTTP: true), Case(isHTTP: false)]
    case (.permissive, .requests):
      return [
        Case(transport: secure, protocols: bytes + requests, isHTTP: true, isSecured: true),
        Case(transport: clear, isHTTP: true),
      ]
    case (.permissive, .bytes):
      return [
        Case(transport: secure, protocols: bytes + requests, isHTTP: false, isSecured: true),
        Case(transport: secure, isHTTP: false), Case(transport: clear, isHTTP: false),
      ]
    case (.permissive, .detected):
      return [
        Case(transport: secure, protocols: requests, isHTTP: true, isSecured: true),
        Case(transport: clear, protocols: plain, isHTTP: true),
        Case(transport: secure, protocols: bytes, isHTTP: false, isSecured: true),
        Case(transport: secure, isHTTP: false), Case(transport: clear, isHTTP: false),
      ]
    case (.strict, .requests): return [Case(transport: secure, isHTTP: true, isSecured: true)]
    case (.strict, .bytes): return [Case(transport: secure, isHTTP: false, isSecured: true)]
    case (.strict, .detected):
      return [
        Case(transport: secure, protocols: requests, isHTTP: true, isSecured: true),
        Case(transport: secure, isHTTP: false, isSecured: true),
      ]
    }
  }
}
