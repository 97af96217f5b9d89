import MeshMessages
import MeshModel
import Resources

/// What is wrong with a Gateway, by Istio's rules.
struct GatewayCheck {
  let check: FieldCheck

  func check(_ gateway: Gateway, _ path: ConfigPath) {
    if gateway.servers.isEmpty {
      check.error(path, "a Gateway has 'servers': say where it listens")
    }
    check.selector(gateway.selector.isEmpty ? nil : gateway.selector, path["selector"])
    var names: Set<String> = []
    for (index, server) in gateway.servers.enumerated() {
      let place = path["servers"][index]
      check(server, place)
      if !server.port.name.isEmpty, !names.insert(server.port.name).inserted {
        check.error(
          place["port"]["name"],
          "there is already a port named '\(server.port.name)': give each its own name")
      }
    }
  }

  private func check(_ server: Istio_Networking_V1alpha3_Server, _ path: ConfigPath) {
    if server.hosts.isEmpty {
      check.error(path, "a server has 'hosts': '*' is all")
    }
    for (index, host) in server.hosts.enumerated() {
      checkHost(host, path["hosts"][index])
    }
    guard server.hasPort else { return check.error(path, "a server has a 'port'") }
    let spoken = PortProtocol(word: server.port.protocol)
    if spoken == nil || spoken == .udp {
      check.error(
        path["port"]["protocol"],
        "'\(server.port.protocol)' is no protocol: HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, TLS, TCP, "
          + "MONGO, MYSQL or REDIS")
    }
    check.port(server.port.number, path["port"]["number"])
    if server.port.name.isEmpty { check.error(path["port"], "a gateway's port has a 'name'") }
    if server.port.targetPort != 0 {
      check.error(path["port"]["targetPort"], "means nothing for a gateway: remove it")
    }
    if !server.bind.isEmpty, !NameSyntax.isAddress(server.bind) {
      check.error(path["bind"], "'\(server.bind)' is no IP address")
    }
    checkTLS(of: server, spoken, path)
  }

  /// `host`, `*`, or `<namespace>/host` with `.` or `*` for the namespace.
  private func checkHost(_ text: String, _ path: ConfigPath) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
      .map(String.init)
    guard parts.count == 2 else { return check.host(text, path) }
    if parts[0] != ".", parts[0] != "*" { check.namespace(parts[0], path) }
    check.host(parts[1], path)
  }

  private func checkTLS(
    of server: Istio_Networking_V1alpha3_Server, _ spoken: PortProtocol?, _ path: ConfigPath
  ) {
    guard let spoken else { return }
    if spoken.isTLS {
      guard server.hasTls else {
        return check.error(path, "a port of \(spoken.rawValue) has 'tls': say which certificate")
      }
      if server.tls.httpsRedirect {
        check.warning(
          path["tls"]["httpsRedirect"],
          "nothing to redirect here: this is for a port of HTTP")
      }
      checkTLS(server.tls, path["tls"])
    } else if server.hasTls {
      let tls = server.tls
      let redirectsAlone =
        tls.mode == .passthrough && tls.serverCertificate.isEmpty && tls.privateKey.isEmpty
        && tls.caCertificates.isEmpty && tls.credentialName.isEmpty
      if !spoken.isHTTP || !redirectsAlone {
        check.error(
          path["tls"],
          "a port of \(spoken.rawValue) is in the clear: write 'protocol: HTTPS' or 'TLS', or remove "
            + (spoken.isHTTP ? "all but 'httpsRedirect'" : "this"))
      }
    }
  }

  /// TLS that a server accepts.
  func checkTLS(_ tls: Istio_Networking_V1alpha3_ServerTLSSettings, _ path: ConfigPath) {
    let sources = [
      ("credentialName", !tls.credentialName.isEmpty),
      ("credentialNames", !tls.credentialNames.isEmpty),
      ("tlsCertificates", !tls.tlsCertificates.isEmpty),
      ("serverCertificate", !tls.serverCertificate.isEmpty || !tls.privateKey.isEmpty),
    ].filter(\.1).map(\.0)
    switch tls.mode {
    case .istioMutual:
      for field in sources + (tls.caCertificates.isEmpty ? [] : ["caCertificates"]) {
        check.error(
          path[field], "ISTIO_MUTUAL uses the mesh's own certificates: remove '\(field)'")
      }
    case .passthrough, .autoPassthrough:
      for field in sources {
        check.warning(
          path[field], "not used: the TLS of clients is carried as it is in this mode")
      }
    case .simple, .mutual, .optionalMutual:
      if sources.count > 1 {
        check.error(
          path[sources[1]], "'\(sources[0])' and '\(sources[1])' exclude each other: remove one")
      }
      if sources.isEmpty || sources == ["serverCertificate"] {
        for (field, text) in [
          ("serverCertificate", tls.serverCertificate), ("privateKey", tls.privateKey),
        ] where text.isEmpty {
          check.error(path, "\(name(tls.mode)) needs a '\(field)', or a 'credentialName'")
        }
        if tls.mode != .simple, tls.caCertificates.isEmpty, tls.caCertCredentialName.isEmpty {
          check.error(
            path, "\(name(tls.mode)) needs 'caCertificates', by which clients are verified")
        }
      }
    case .UNRECOGNIZED: break
    }
    let (lowest, highest) = (tls.minProtocolVersion, tls.maxProtocolVersion)
    if highest != .tlsAuto, lowest.rawValue > highest.rawValue {
      check.error(path["maxProtocolVersion"], "is below 'minProtocolVersion': nobody could connect")
    }
  }

  private func name(_ mode: Istio_Networking_V1alpha3_ServerTLSSettings.TLSmode) -> String {
    switch mode {
    case .simple: "SIMPLE"
    case .mutual: "MUTUAL"
    case .optionalMutual: "OPTIONAL_MUTUAL"
    default: "the mode"
    }
  }
}

/// What is wrong with a Sidecar, by Istio's rules.
struct SidecarCheck {
  let check: FieldCheck

  func check(_ sidecar: Sidecar, _ path: ConfigPath) {
    if sidecar.hasWorkloadSelector {
      check.selector(sidecar.workloadSelector.labels, path["workloadSelector"])
    }
    if sidecar.ingress.isEmpty, sidecar.egress.isEmpty, !sidecar.hasOutboundTrafficPolicy,
      !sidecar.hasInboundConnectionPool
    {
      check.error(path, "a Sidecar says nothing: write 'egress', 'ingress' or another field")
    }
    checkIngress(sidecar.ingress, path["ingress"])
    checkEgress(sidecar.egress, path["egress"])
    if sidecar.outboundTrafficPolicy.hasEgressProxy {
      let place = path["outboundTrafficPolicy"]["egressProxy"]
      if sidecar.outboundTrafficPolicy.mode != .allowAny {
        check.error(place, "goes with 'mode: ALLOW_ANY' alone")
      }
      DestinationCheck(check: check).check(
        sidecar.outboundTrafficPolicy.egressProxy, place, field: nil)
      if !sidecar.outboundTrafficPolicy.egressProxy.hasPort {
        check.error(place, "an egress proxy has a 'port'")
      }
    }
  }

  private func checkIngress(
    _ listeners: [Istio_Networking_V1alpha3_IstioIngressListener], _ path: ConfigPath
  ) {
    var seen: Set<UInt32> = []
    for (index, listener) in listeners.enumerated() {
      let place = path[index]
      guard listener.hasPort else {
        check.error(place, "an ingress listener has a 'port'")
        continue
      }
      check.port(listener.port.number, place["port"]["number"])
      checkPort(listener.port, place["port"])
      if !seen.insert(listener.port.number).inserted {
        check.error(
          place["port"]["number"], "port \(listener.port.number) is there already: remove one")
      }
      if !listener.bind.isEmpty, !NameSyntax.isAddress(listener.bind) {
        check.error(place["bind"], "'\(listener.bind)' is no IP address")
      }
      checkEndpoint(listener.defaultEndpoint, place["defaultEndpoint"])
      if listener.hasTls {
        if ![.simple, .mutual, .optionalMutual].contains(listener.tls.mode) {
          check.error(place["tls"]["mode"], "SIMPLE, MUTUAL or OPTIONAL_MUTUAL is expected here")
        } else {
          GatewayCheck(check: check).checkTLS(listener.tls, place["tls"])
        }
      }
    }
  }

  private func checkEndpoint(_ text: String, _ path: ConfigPath) {
    guard !text.isEmpty else { return }
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    if text.hasPrefix("unix://"), parts.count == 2, text.count > 7 { return }
    guard let colon = text.lastIndex(of: ":"),
      let port = UInt32(text[text.index(after: colon)...]), (1...65_535).contains(port)
    else {
      return check.error(path, "'\(text)' is no endpoint: 127.0.0.1:8080 is")
    }
    let host = text[..<colon]
    if !["127.0.0.1", "0.0.0.0", "[::1]", "[::]"].contains(host) {
      check.error(
        path, "the workload itself is meant: 127.0.0.1, or 0.0.0.0 for its own address, not \(host)"
      )
    }
  }

  private func checkPort(_ port: Istio_Networking_V1alpha3_SidecarPort, _ path: ConfigPath) {
    if PortProtocol(word: port.protocol) == nil, port.protocol.uppercased() != "HTTP_PROXY" {
      check.error(path["protocol"], "'\(port.protocol)' is no protocol: HTTP, GRPC, TCP or TLS is")
    }
    if port.targetPort != 0 {
      check.error(path["targetPort"], "means nothing here: remove it")
    }
  }

  private func checkEgress(
    _ listeners: [Istio_Networking_V1alpha3_IstioEgressListener], _ path: ConfigPath
  ) {
    var seen: Set<String> = []
    for (index, listener) in listeners.enumerated() {
      let place = path[index]
      if !listener.hasPort || listener.port.number == 0, index != listeners.count - 1,
        !listener.bind.hasPrefix("unix://")
      {
        check.error(
          place, "a listener without a 'port' is for the rest: make it the last, and only")
      }
      if listener.hasPort {
        checkPort(listener.port, place["port"])
        if listener.port.number != 0 || !listener.bind.hasPrefix("unix://") {
          check.port(listener.port.number, place["port"]["number"])
        }
        if !seen.insert("\(listener.bind):\(listener.port.number)").inserted {
          check.error(place["port"], "there is already such a listener: remove one")
        }
      }
      if listener.hosts.isEmpty {
        check.error(place, "an egress listener has 'hosts': '*/*' is all")
      }
      for (index, host) in listener.hosts.enumerated() { checkHost(host, place["hosts"][index]) }
    }
  }

  /// `<namespace>/<host>`, with `*`, `.` or `~` for the namespace.
  private func checkHost(_ text: String, _ path: ConfigPath) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
      .map(String.init)
    guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
      return check.error(
        path, "'\(text)' is not <namespace>/<host>: './*' is all of this namespace, '*/*' is all")
    }
    if !["*", ".", "~"].contains(parts[0]) { check.namespace(parts[0], path) }
    check.host(parts[1], path)
  }
}
