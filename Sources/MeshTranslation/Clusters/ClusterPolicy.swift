import MeshMessages
import MeshModel
import ResourceModel
import SwiftProtobuf

/// What a traffic policy says about a cluster, but for TLS.
struct ClusterPolicy {
  typealias Cluster = Envoy_Config_Cluster_V3_Cluster
  typealias More = Fairlead_Mesh_Envoy_V1_ClusterMore

  let origin: ObjectID
  let profile: ClientProfile
  let settings: MeshSettings
  let notes: OmissionNotes

  /// Sets everything that does not depend on who the service's workloads are.
  func apply(_ policy: TrafficPolicy, to cluster: inout Cluster, _ port: MeshPort) {
    var more = More()
    setPool(policy.connectionPool, of: &cluster, port, policy)
    setBalancer(policy, of: &cluster, &more)
    if policy.hasOutlierDetection {
      guard profile.detectsOutliers else {
        notes.note(
          origin, "trafficPolicy.outlierDetection", "endpoints that fail are not ejected")
        return finish(&cluster, more)
      }
      more.outlierDetection = Self.outliers(policy.outlierDetection)
      if profile.isProxy {
        // Istio's: endpoints that are ejected are not used for want of others.
        cluster.commonLbConfig.healthyPanicThreshold = .with {
          $0.value = Double(max(0, policy.outlierDetection.minHealthPercent))
        }
      }
    }
    finish(&cluster, more)
  }

  private func finish(_ cluster: inout Cluster, _ more: More) { cluster = cluster.adding(more) }

  // MARK: Connections and requests

  private static let unbounded = Google_Protobuf_UInt32Value(UInt32.max)

  /// Envoy would allow 1024 of each, and three retries; Istio bounds nothing that nobody bounds.
  static let unboundedBreakers = Envoy_Config_Cluster_V3_CircuitBreakers.with {
    $0.thresholds = [
      .with {
        $0.maxConnections = unbounded
        $0.maxPendingRequests = unbounded
        $0.maxRequests = unbounded
        $0.maxRetries = unbounded
        $0.trackRemaining = true
      }
    ]
  }

  private func setPool(
    _ pool: Istio_Networking_V1alpha3_ConnectionPoolSettings, of cluster: inout Cluster,
    _ port: MeshPort, _ policy: TrafficPolicy
  ) {
    var thresholds = Self.unboundedBreakers.thresholds[0]
    func bound(_ value: Int32) -> Google_Protobuf_UInt32Value? {
      UInt32(exactly: value).flatMap { $0 > 0 ? Google_Protobuf_UInt32Value($0) : nil }
    }
    if let value = bound(pool.tcp.maxConnections) { thresholds.maxConnections = value }
    if let value = bound(pool.http.http1MaxPendingRequests) {
      thresholds.maxPendingRequests = value
    }
    if let value = bound(pool.http.http2MaxRequests) { thresholds.maxRequests = value }
    if let value = bound(pool.http.maxRetries) { thresholds.maxRetries = value }
    if policy.hasRetryBudget {
      thresholds.clearMaxRetries()
      thresholds.retryBudget = .with {
        $0.budgetPercent = .with {
          $0.value = policy.retryBudget.hasPercent ? policy.retryBudget.percent.value : 20
        }
        $0.minRetryConcurrency = .init(max(policy.retryBudget.minRetryConcurrency, 1))
      }
    }
    if !profile.isProxy {
      // gRPC has one bound, and reads no other.
      thresholds = .with { $0.maxRequests = thresholds.maxRequests }
    }
    cluster.circuitBreakers.thresholds = [thresholds]
    if pool.tcp.hasConnectTimeout { cluster.connectTimeout = pool.tcp.connectTimeout }
    guard profile.isProxy else { return }
    setKeepalive(pool.tcp, of: &cluster)
    setProtocol(pool.http, pool.tcp, of: &cluster, port)
  }

  private func setKeepalive(
    _ tcp: Istio_Networking_V1alpha3_ConnectionPoolSettings.TCPSettings, of cluster: inout Cluster
  ) {
    guard tcp.hasTcpKeepalive || settings.tcpKeepalive != nil else { return }
    let keepalive = tcp.hasTcpKeepalive ? tcp.tcpKeepalive : settings.tcpKeepalive ?? .init()
    cluster.upstreamConnectionOptions.tcpKeepalive = .with {
      if keepalive.probes > 0 { $0.keepaliveProbes = .init(keepalive.probes) }
      if keepalive.hasTime { $0.keepaliveTime = .init(UInt32(clamping: keepalive.time.seconds)) }
      if keepalive.hasInterval {
        $0.keepaliveInterval = .init(UInt32(clamping: keepalive.interval.seconds))
      }
    }
  }

  private func setProtocol(
    _ http: Istio_Networking_V1alpha3_ConnectionPoolSettings.HTTPSettings,
    _ tcp: Istio_Networking_V1alpha3_ConnectionPoolSettings.TCPSettings,
    of cluster: inout Cluster, _ port: MeshPort
  ) {
    guard port.spoken.isHTTP || port.spoken == .auto else { return }
    typealias Options = Envoy_Extensions_Upstreams_Http_V3_HttpProtocolOptions
    var options = Options()
    var http2 = Envoy_Config_Core_V3_Http2ProtocolOptions()
    if let streams = UInt32(exactly: http.maxConcurrentStreams), streams > 0 {
      http2.maxConcurrentStreams = .init(streams)
    }
    if http.hasHTTP2KeepAlive {
      http2.connectionKeepalive = .with {
        $0.interval = http.http2KeepAlive.interval
        $0.timeout = http.http2KeepAlive.timeout
      }
    }
    let upgrades: Bool =
      switch http.h2UpgradePolicy {
      case .upgrade: true
      case .doNotUpgrade: false
      case .default, .UNRECOGNIZED: settings.upgradesToHTTP2
      }
    if http.useClientProtocol || port.spoken == .auto {
      options.useDownstreamProtocolConfig = .with { $0.http2ProtocolOptions = http2 }
    } else if port.spoken.isHTTP2 || (upgrades && port.spoken == .http) {
      options.explicitHTTPConfig = .with { $0.http2ProtocolOptions = http2 }
    } else {
      options.explicitHTTPConfig = .with { $0.httpProtocolOptions = .init() }
    }
    if http.hasIdleTimeout { options.commonHTTPProtocolOptions.idleTimeout = http.idleTimeout }
    if tcp.hasMaxConnectionDuration {
      options.commonHTTPProtocolOptions.maxConnectionDuration = tcp.maxConnectionDuration
    }
    if let requests = UInt32(exactly: http.maxRequestsPerConnection), requests > 0 {
      options.commonHTTPProtocolOptions.maxRequestsPerConnection = .init(requests)
    }
    let isDefault =
      options == .with { $0.explicitHTTPConfig = .with { $0.httpProtocolOptions = .init() } }
    guard !isDefault else { return }
    cluster.typedExtensionProtocolOptions[Options.protoMessageName] = options.packed
  }

  // MARK: Balancing

  private func setBalancer(_ policy: TrafficPolicy, of cluster: inout Cluster, _ more: inout More) {
    guard cluster.lbPolicy != .clusterProvided else { return }
    cluster.lbPolicy = profile.balancesByLeastRequest ? .leastRequest : .roundRobin
    guard policy.hasLoadBalancer else { return }
    let balancer = policy.loadBalancer
    switch balancer.lbPolicy {
    case .simple(let simple): setSimple(simple, of: &cluster)
    case .consistentHash(let hash): setHash(hash, of: &cluster, &more)
    case nil: break
    }
    if balancer.hasWarmup || balancer.hasWarmupDurationSecs {
      notes.note(origin, "trafficPolicy.loadBalancer.warmup", "new endpoints get their full share")
    }
  }

  private func setSimple(
    _ simple: Istio_Networking_V1alpha3_LoadBalancerSettings.SimpleLB, of cluster: inout Cluster
  ) {
    switch simple {
    case .roundRobin: cluster.lbPolicy = .roundRobin
    case .random:
      if profile.balancesByRandom {
        cluster.lbPolicy = .random
      } else {
        notes.note(origin, "trafficPolicy.loadBalancer.simple", "balanced by ROUND_ROBIN")
      }
    case .passthrough:
      guard profile.isProxy else {
        return notes.note(origin, "trafficPolicy.loadBalancer.simple", "balanced by ROUND_ROBIN")
      }
      cluster.type = .originalDst
      cluster.lbPolicy = .clusterProvided
      cluster.clearEdsClusterConfig()
      cluster.clearLoadAssignment()
    case .leastConn, .leastRequest:
      if !profile.balancesByLeastRequest {
        notes.note(origin, "trafficPolicy.loadBalancer.simple", "balanced by ROUND_ROBIN")
      }
    case .unspecified, .UNRECOGNIZED: break
    }
  }

  private func setHash(
    _ hash: Istio_Networking_V1alpha3_LoadBalancerSettings.ConsistentHashLB,
    of cluster: inout Cluster, _ more: inout More
  ) {
    guard profile.balancesByHash else {
      return notes.note(
        origin, "trafficPolicy.loadBalancer.consistentHash",
        "requests of one key are not kept together")
    }
    switch hash.hashAlgorithm {
    case .maglev(let maglev):
      guard profile.isProxy else {
        return notes.note(
          origin, "trafficPolicy.loadBalancer.consistentHash.maglev", "balanced by ROUND_ROBIN")
      }
      cluster.lbPolicy = .UNRECOGNIZED(5)
      if maglev.tableSize > 0 {
        more.maglevLbConfig = .with { $0.tableSize = .init(maglev.tableSize) }
      }
    case .ringHash(let ring): setRing(ring.minimumRingSize, of: &cluster, &more)
    case nil: setRing(hash.minimumRingSize, of: &cluster, &more)
    }
  }

  private func setRing(_ size: UInt64, of cluster: inout Cluster, _ more: inout More) {
    cluster.lbPolicy = .UNRECOGNIZED(2)
    // 1024 is the default on both sides; said, so that it stays.
    more.ringHashLbConfig = .with { $0.minimumRingSize = .init(size == 0 ? 1024 : size) }
  }

  // MARK: Outliers

  private static func outliers(
    _ rule: Istio_Networking_V1alpha3_OutlierDetection
  ) -> Fairlead_Mesh_Envoy_V1_OutlierDetection {
    .with {
      // Only what a rule says counts; Envoy's own statistics of success rates do not.
      $0.enforcingSuccessRate = .init(0)
      $0.enforcingConsecutive5Xx = .init(0)
      $0.enforcingConsecutiveGatewayFailure = .init(0)
      if rule.hasConsecutive5XxErrors || !rule.hasConsecutiveGatewayErrors {
        let count = rule.hasConsecutive5XxErrors ? rule.consecutive5XxErrors.value : 5
        $0.consecutive5Xx = .init(count == 0 ? 5 : count)
        $0.enforcingConsecutive5Xx = .init(count == 0 ? 0 : 100)
      }
      if rule.hasConsecutiveGatewayErrors {
        let count = rule.consecutiveGatewayErrors.value
        $0.consecutiveGatewayFailure = .init(count == 0 ? 5 : count)
        $0.enforcingConsecutiveGatewayFailure = .init(count == 0 ? 0 : 100)
      }
      if rule.hasInterval { $0.interval = rule.interval }
      if rule.hasBaseEjectionTime { $0.baseEjectionTime = rule.baseEjectionTime }
      if let share = UInt32(exactly: rule.maxEjectionPercent), share > 0 {
        $0.maxEjectionPercent = .init(share)
      }
      if rule.splitExternalLocalOriginErrors {
        $0.splitExternalLocalOriginErrors = true
        if rule.hasConsecutiveLocalOriginFailures {
          $0.consecutiveLocalOriginFailure = rule.consecutiveLocalOriginFailures
          $0.enforcingConsecutiveLocalOriginFailure = .init(100)
        }
        $0.enforcingLocalOriginSuccessRate = .init(0)
      }
    }
  }
}
