import MeshMessages
import MeshModel
import Resources

/// What Kubernetes itself would refuse, and we must: without it there is nobody else to.
struct KubernetesCheck {
  let check: FieldCheck

  func check(_ service: Kubernetes_ServiceSpec, _ path: ConfigPath) {
    if service.type == "ExternalName" {
      if service.externalName.isEmpty {
        check.error(path, "an ExternalName has an 'externalName'")
      } else {
        check.host(service.externalName, path["externalName"], takesPatterns: false)
      }
    } else if service.ports.isEmpty, service.clusterIp != "None" {
      check.error(path, "a Service has 'ports'")
    }
    if !["", "ClusterIP", "NodePort", "LoadBalancer", "ExternalName"].contains(service.type) {
      check.error(
        path["type"],
        "'\(service.type)' is no type: ClusterIP, NodePort, LoadBalancer or ExternalName")
    }
    for (index, address) in ([service.clusterIp] + service.clusterIps).enumerated()
    where !address.isEmpty && address != "None" && !NameSyntax.isAddress(address) {
      check.error(
        index == 0 ? path["clusterIP"] : path["clusterIPs"][index - 1],
        "'\(address)' is no IP address")
    }
    checkPorts(service.ports, path["ports"])
  }

  private func checkPorts(_ ports: [Kubernetes_ServicePort], _ path: ConfigPath) {
    var numbers: Set<String> = []
    var names: Set<String> = []
    for (index, port) in ports.enumerated() {
      let place = path[index]
      let transport = port.protocol.isEmpty ? "TCP" : port.protocol
      check.port(port.port, place["port"])
      if !["TCP", "UDP", "SCTP"].contains(transport) {
        check.error(
          place["protocol"],
          "'\(transport)' is no transport: TCP, UDP or SCTP. What is spoken is said by 'name' or "
            + "'appProtocol'")
      }
      if !numbers.insert("\(port.port)/\(transport)").inserted {
        check.error(place["port"], "port \(port.port) (\(transport)) is there already: remove one")
      }
      if port.name.isEmpty {
        if ports.count > 1 { check.error(place, "of several ports each has a 'name': give it one") }
      } else if !names.insert(port.name).inserted {
        check.error(
          place["name"], "there is already a port named '\(port.name)': give each its own name")
      }
      if case .numberValue(let number) = port.targetPort.kind,
        UInt32(exactly: number).map({ $0 > 65_535 }) ?? true
      {
        check.error(place["targetPort"], "a port is from 1 to 65535, or a name")
      }
    }
  }

  func check(_ slice: Kubernetes_EndpointSlice, _ path: ConfigPath) {
    for (index, endpoint) in slice.endpoints.enumerated() {
      for (number, address) in endpoint.addresses.enumerated()
      where slice.addressType != "FQDN" && !NameSyntax.isAddress(address) {
        check.error(
          path["endpoints"][index]["addresses"][number], "'\(address)' is no IP address")
      }
    }
    for (index, port) in slice.ports.enumerated() where port.port > 65_535 {
      check.error(path["ports"][index]["port"], "a port is from 1 to 65535, not \(port.port)")
    }
  }

  func check(_ pod: Kubernetes_PodSpec, _ path: ConfigPath) {
    for (field, containers) in [
      ("containers", pod.containers), ("initContainers", pod.initContainers),
    ] {
      for (index, container) in containers.enumerated() {
        for (number, port) in container.ports.enumerated() {
          check.port(
            port.containerPort, path[field][index]["ports"][number]["containerPort"])
        }
      }
    }
  }

  func check(_ deployment: Kubernetes_DeploymentSpec, _ path: ConfigPath) {
    if deployment.hasReplicas { check.atLeastZero(deployment.replicas.value, path["replicas"]) }
    for (key, value) in deployment.selector.matchLabels.sorted(by: { $0.key < $1.key })
    where deployment.template.metadata.labels[key] != value {
      check.error(
        path["selector"]["matchLabels"].key(key),
        "the template's pods have no label '\(key): \(value)': a Deployment selects its own pods")
    }
    check(deployment.template.spec, path["template"]["spec"])
  }
}

/// What is wrong with the mesh's settings.
struct MeshConfigCheck {
  let check: FieldCheck

  func check(_ config: MeshConfig, _ path: ConfigPath) {
    for (field, port) in [
      ("proxyListenPort", config.proxyListenPort),
      ("proxyInboundListenPort", config.proxyInboundListenPort),
      ("proxyHttpPort", config.proxyHTTPPort),
    ] where !(0...65_535).contains(port) {
      check.error(path[field], "a port is from 1 to 65535, not \(port)")
    }
    if config.hasConnectTimeout { check.duration(config.connectTimeout, path["connectTimeout"]) }
    if config.hasProtocolDetectionTimeout {
      check.duration(
        config.protocolDetectionTimeout, path["protocolDetectionTimeout"], takesZero: true)
    }
    if config.hasDnsRefreshRate { check.duration(config.dnsRefreshRate, path["dnsRefreshRate"]) }
    ProviderCheck(check: check).check(config, path)
    if config.hasDefaultHTTPRetryPolicy {
      HTTPPolicyCheck(check: check).checkRetries(
        config.defaultHTTPRetryPolicy, path["defaultHttpRetryPolicy"])
    }
    for (index, domain) in ([config.trustDomain] + config.trustDomainAliases).enumerated()
    where !domain.isEmpty && !NameSyntax.isDomain(domain) {
      check.error(
        index == 0 ? path["trustDomain"] : path["trustDomainAliases"][index - 1],
        "'\(domain)' is no trust domain: cluster.local is")
    }
  }
}
