import MeshMessages
import MeshModel
import Resources

/// What is wrong with a DestinationRule, by Istio's rules.
struct DestinationRuleCheck {
  let check: FieldCheck
  let object: MeshObject

  func check(_ rule: DestinationRule, _ path: ConfigPath) {
    if rule.host.isEmpty {
      check.error(path, "a DestinationRule names its 'host'")
    } else {
      check.host(rule.host, path["host"])
    }
    check.exportTo(rule.exportTo, of: object, path["exportTo"])
    if rule.hasWorkloadSelector {
      check.selector(rule.workloadSelector.matchLabels, path["workloadSelector"])
      if !rule.exportTo.isEmpty, rule.exportTo != ["."], rule.exportTo != [object.namespace] {
        check.error(
          path["exportTo"],
          "a rule for some workloads of a namespace is shown there alone: write '.' or nothing")
      }
    }
    if rule.hasTrafficPolicy { check(rule.trafficPolicy, path["trafficPolicy"]) }
    checkSubsets(rule.subsets, path["subsets"])
  }

  private func checkSubsets(_ subsets: [Subset], _ path: ConfigPath) {
    var seen: Set<String> = []
    for (index, subset) in subsets.enumerated() {
      let place = path[index]
      if subset.name.isEmpty {
        check.error(place, "a subset has a 'name', by which routes refer to it")
      } else if !NameSyntax.isSubset(subset.name) {
        check.error(place["name"], "'\(subset.name)' is no name of a subset: v1 is")
      } else if !seen.insert(subset.name).inserted {
        check.error(
          place["name"], "there is already a subset '\(subset.name)': give each its own name")
      }
      check.labels(subset.labels, place["labels"])
      if subset.hasTrafficPolicy { check(subset.trafficPolicy, place["trafficPolicy"]) }
    }
  }

  private func check(_ policy: TrafficPolicy, _ path: ConfigPath) {
    if policy == TrafficPolicy() {
      return check.error(path, "says nothing: write one of its fields, or remove it")
    }
    if policy.hasTunnel, policy.hasProxyProtocol {
      check.error(path["tunnel"], "'tunnel' and 'proxyProtocol' exclude each other: remove one")
    }
    if policy.hasConnectionPool { checkPool(policy.connectionPool, path["connectionPool"]) }
    if policy.hasOutlierDetection {
      checkOutliers(policy.outlierDetection, path["outlierDetection"])
    }
    if policy.hasLoadBalancer {
      LoadBalancerCheck(check: check).check(
        policy.loadBalancer, path["loadBalancer"], detectsOutliers: policy.hasOutlierDetection)
    }
    if policy.hasTls { checkTLS(policy.tls, path["tls"]) }
    if policy.hasTunnel { checkTunnel(policy.tunnel, path["tunnel"]) }
    if policy.hasRetryBudget, policy.retryBudget.hasPercent,
      !(0...100).contains(policy.retryBudget.percent.value)
    {
      check.error(path["retryBudget"]["percent"], "a percentage is from 0 to 100")
    }
    checkPorts(policy.portLevelSettings, path["portLevelSettings"])
  }

  private func checkPorts(_ ports: [TrafficPolicy.PortTrafficPolicy], _ path: ConfigPath) {
    var seen: Set<UInt32> = []
    for (index, port) in ports.enumerated() {
      let place = path[index]
      if port.hasPort {
        check.port(port.port.number, place["port"]["number"])
        if !seen.insert(port.port.number).inserted {
          check.error(
            place["port"]["number"], "port \(port.port.number) is there already: remove one")
        }
      } else {
        check.error(place, "settings of a port name it: 'port: {number: 80}'")
      }
      if !port.hasLoadBalancer, !port.hasConnectionPool, !port.hasOutlierDetection, !port.hasTls {
        check.error(place, "says nothing of the port: write one of its fields, or remove it")
      }
      if port.hasConnectionPool { checkPool(port.connectionPool, place["connectionPool"]) }
      if port.hasOutlierDetection {
        checkOutliers(port.outlierDetection, place["outlierDetection"])
      }
      if port.hasLoadBalancer {
        LoadBalancerCheck(check: check).check(
          port.loadBalancer, place["loadBalancer"], detectsOutliers: port.hasOutlierDetection)
      }
      if port.hasTls { checkTLS(port.tls, place["tls"]) }
    }
  }

  // MARK: Pools

  func checkPool(
    _ pool: Istio_Networking_V1alpha3_ConnectionPoolSettings, _ path: ConfigPath
  ) {
    if !pool.hasTcp, !pool.hasHTTP {
      check.error(path, "says nothing: write 'tcp' or 'http' under it, or remove it")
    }
    let http = pool.http
    for (field, value) in [
      ("http1MaxPendingRequests", http.http1MaxPendingRequests),
      ("http2MaxRequests", http.http2MaxRequests),
      ("maxRequestsPerConnection", http.maxRequestsPerConnection), ("maxRetries", http.maxRetries),
      ("maxConcurrentStreams", http.maxConcurrentStreams),
    ] {
      check.atLeastZero(value, path["http"][field])
    }
    if http.hasIdleTimeout {
      check.duration(http.idleTimeout, path["http"]["idleTimeout"], takesZero: true)
    }
    if http.useClientProtocol, http.h2UpgradePolicy == .upgrade {
      check.error(
        path["http"]["useClientProtocol"],
        "the client's protocol, and HTTP/2 in any case, exclude each other: remove one")
    }
    if http.hasHTTP2KeepAlive {
      let place = path["http"]["http2KeepAlive"]
      if http.http2KeepAlive.hasInterval {
        check.duration(http.http2KeepAlive.interval, place["interval"])
      } else {
        check.error(place, "an 'interval' is needed")
      }
      if http.http2KeepAlive.hasTimeout {
        check.duration(http.http2KeepAlive.timeout, place["timeout"])
      } else {
        check.error(place, "a 'timeout' is needed")
      }
    }
    check.atLeastZero(pool.tcp.maxConnections, path["tcp"]["maxConnections"])
    for (field, time, isThere) in [
      ("connectTimeout", pool.tcp.connectTimeout, pool.tcp.hasConnectTimeout),
      ("maxConnectionDuration", pool.tcp.maxConnectionDuration, pool.tcp.hasMaxConnectionDuration),
    ] where isThere {
      check.duration(time, path["tcp"][field])
    }
    if pool.tcp.hasIdleTimeout {
      check.duration(pool.tcp.idleTimeout, path["tcp"]["idleTimeout"], takesZero: true)
    }
  }

  private func checkOutliers(
    _ outliers: Istio_Networking_V1alpha3_OutlierDetection, _ path: ConfigPath
  ) {
    for (field, time, isThere) in [
      ("interval", outliers.interval, outliers.hasInterval),
      ("baseEjectionTime", outliers.baseEjectionTime, outliers.hasBaseEjectionTime),
    ] where isThere {
      check.duration(time, path[field])
    }
    check.percent(outliers.maxEjectionPercent, path["maxEjectionPercent"])
    check.percent(outliers.minHealthPercent, path["minHealthPercent"])
    check.atLeastZero(outliers.consecutiveErrors, path["consecutiveErrors"])
    if outliers.consecutiveErrors != 0 {
      check.warning(
        path["consecutiveErrors"],
        "deprecated: use 'consecutive5xxErrors' or 'consecutiveGatewayErrors'")
    }
    if outliers.consecutiveLocalOriginFailures.value > 0, !outliers.splitExternalLocalOriginErrors {
      check.error(
        path["consecutiveLocalOriginFailures"],
        "needs 'splitExternalLocalOriginErrors: true': without it these failures are not told apart"
      )
    }
  }

  // MARK: TLS

  private func checkTLS(
    _ tls: Istio_Networking_V1alpha3_ClientTLSSettings, _ path: ConfigPath
  ) {
    let files = [
      ("clientCertificate", tls.clientCertificate), ("privateKey", tls.privateKey),
      ("caCertificates", tls.caCertificates),
    ].filter { !$0.1.isEmpty }.map(\.0)
    if tls.hasInsecureSkipVerify, tls.insecureSkipVerify.value {
      for (field, isThere) in [
        ("caCertificates", !tls.caCertificates.isEmpty),
        ("subjectAltNames", !tls.subjectAltNames.isEmpty),
      ] where isThere {
        check.error(
          path[field], "nothing is verified with 'insecureSkipVerify: true': remove one of the two")
      }
    }
    switch tls.mode {
    case .disable: break
    case .simple, .mutual:
      if !tls.credentialName.isEmpty {
        for field in files {
          check.error(
            path[field], "'credentialName' and '\(field)' exclude each other: remove one")
        }
      } else if tls.mode == .mutual {
        for field in ["clientCertificate", "privateKey"] where !files.contains(field) {
          check.error(path, "MUTUAL needs a '\(field)', or a 'credentialName'")
        }
      }
    case .istioMutual:
      for field in files + (tls.credentialName.isEmpty ? [] : ["credentialName"]) {
        check.error(
          path[field], "ISTIO_MUTUAL uses the mesh's own certificates: remove '\(field)'")
      }
    case .UNRECOGNIZED: break
    }
  }

  private func checkTunnel(_ tunnel: TrafficPolicy.TunnelSettings, _ path: ConfigPath) {
    if !["", "CONNECT", "POST"].contains(tunnel.protocol) {
      check.error(path["protocol"], "'CONNECT' or 'POST' is expected, not '\(tunnel.protocol)'")
    }
    check.host(tunnel.targetHost, path["targetHost"], takesPatterns: false)
    check.port(tunnel.targetPort, path["targetPort"])
  }
}

/// What is wrong with how endpoints are chosen.
struct LoadBalancerCheck {
  let check: FieldCheck

  /// The largest table of Maglev that Envoy takes.
  private static let largestTable: UInt64 = 5_000_011

  func check(
    _ settings: Istio_Networking_V1alpha3_LoadBalancerSettings, _ path: ConfigPath,
    detectsOutliers: Bool
  ) {
    if case .consistentHash(let hash)? = settings.lbPolicy {
      checkHash(hash, path["consistentHash"])
    }
    if case .simple(.leastConn)? = settings.lbPolicy {
      check.warning(path["simple"], "LEAST_CONN is deprecated: LEAST_REQUEST is what it does")
    }
    if settings.hasWarmupDurationSecs, settings.hasWarmup {
      check.error(
        path["warmupDurationSecs"], "'warmup' is there, too: keep that and remove this")
    }
    if settings.hasWarmup {
      let warmup = settings.warmup
      if warmup.hasDuration {
        check.duration(warmup.duration, path["warmup"]["duration"])
      } else {
        check.error(path["warmup"], "a 'duration' is needed")
      }
      if warmup.minimumPercent.value > 100 {
        check.error(path["warmup"]["minimumPercent"], "a percentage is from 0 to 100")
      }
      if warmup.hasAggression, warmup.aggression.value <= 0 {
        check.error(path["warmup"]["aggression"], "more than 0 is expected")
      }
    }
    if settings.hasLocalityLbSetting, settings.hasZoneAwareLbSetting {
      check.error(
        path["zoneAwareLbSetting"], "'localityLbSetting' excludes this: remove one of the two")
    }
    if settings.hasLocalityLbSetting {
      checkLocality(
        settings.localityLbSetting, path["localityLbSetting"], detectsOutliers: detectsOutliers)
    }
  }

  private func checkHash(
    _ hash: Istio_Networking_V1alpha3_LoadBalancerSettings.ConsistentHashLB, _ path: ConfigPath
  ) {
    switch hash.hashKey {
    case .httpCookie(let cookie):
      if cookie.name.isEmpty { check.error(path["httpCookie"], "a cookie has a 'name'") }
      if cookie.hasTtl, cookie.ttl.seconds < 0 {
        check.error(path["httpCookie"]["ttl"], "0s or more is expected")
      }
    case .httpHeaderName(let name): check.header(name, path["httpHeaderName"])
    case .httpQueryParameterName(let name):
      if name.isEmpty { check.error(path["httpQueryParameterName"], "a parameter has a name") }
    case .useSourceIp: break
    case nil:
      check.error(
        path,
        "says what is hashed: 'httpHeaderName', 'httpCookie', 'useSourceIp' or "
          + "'httpQueryParameterName'")
    }
    switch hash.hashAlgorithm {
    case .maglev(let maglev):
      let size = maglev.tableSize
      if size >= Self.largestTable || !Self.isPrime(size) {
        check.error(
          path["maglev"], "a 'tableSize' is a prime below \(Self.largestTable), not \(size)")
      }
    case .ringHash, nil: break
    }
    if hash.minimumRingSize != 0 {
      if hash.hashAlgorithm != nil {
        check.error(path["minimumRingSize"], "the algorithm says its own size: remove this")
      } else {
        check.warning(path["minimumRingSize"], "deprecated: use 'ringHash'")
      }
    }
  }

  static func isPrime(_ number: UInt64) -> Bool {
    guard number > 3 else { return number > 1 }
    guard number % 2 != 0 else { return false }
    var factor: UInt64 = 3
    // Callers have a bound, so that this ends soon.
    while factor * factor <= number {
      if number % factor == 0 { return false }
      factor += 2
    }
    return true
  }

  private func checkLocality(
    _ setting: Istio_Networking_V1alpha3_LocalityLoadBalancerSetting, _ path: ConfigPath,
    detectsOutliers: Bool
  ) {
    if !setting.distribute.isEmpty, !setting.failover.isEmpty {
      check.error(path["failover"], "'distribute' and 'failover' exclude each other: remove one")
    }
    for (index, distribute) in setting.distribute.enumerated() {
      let place = path["distribute"][index]
      let total = distribute.to.values.reduce(UInt64(0)) { $0 + UInt64($1) }
      if total != 100 { check.error(place["to"], "the shares add up to 100, not \(total)") }
      if distribute.to.values.contains(0) {
        check.error(place["to"], "a share is from 1 to 100: leave out where nothing goes")
      }
      for locality in [distribute.from] + distribute.to.keys.sorted() {
        checkName(locality, place)
      }
    }
    let fails = !setting.failover.isEmpty || !setting.failoverPriority.isEmpty
    if fails, !detectsOutliers, !setting.hasEnabled || setting.enabled.value {
      check.warning(
        path, "nobody notices that endpoints fail: add 'outlierDetection' to the same policy")
    }
    for (index, failover) in setting.failover.enumerated() {
      let place = path["failover"][index]
      if failover.from == failover.to {
        check.error(place["to"], "a region does not fail over to itself: name another")
      }
      for (field, name) in [("from", failover.from), ("to", failover.to)]
      where name.contains("/") || name.contains("*") {
        check.error(place[field], "a region alone is expected, not '\(name)'")
      }
    }
  }

  private func checkName(_ locality: String, _ path: ConfigPath) {
    let parts = locality.split(separator: "/", omittingEmptySubsequences: false)
    if parts.contains("") {
      check.error(path, "'\(locality)' has an empty part: region/zone/subzone, or fewer")
    }
    if let star = parts.firstIndex(of: "*"), star != parts.count - 1 {
      check.error(path, "'\(locality)' has '*' before its end: it stands for all that follows")
    }
  }
}
