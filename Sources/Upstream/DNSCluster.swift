import Engine
import Telemetry

/// Keeps the hosts of one STRICT_DNS or LOGICAL_DNS cluster up to date: asks, compares, publishes,
/// and asks again. Main thread.
///
/// The hosts last known stay until an answer replaces them: a name server that fails takes no
/// traffic away.
final class DNSCluster {
  private let config: Ref<ClusterConfig>
  private let resolver: DNSResolver
  private let loop: EventLoop
  private let stats: Ref<ClusterStats>
  private let counters: WorkerStats
  private var targets: [DNSTarget] = []
  private let publish: ([HostPublisher.Wanted]) -> Bool
  private var isFirstAnswer = true
  /// Called once, when the first name has been answered for or has failed.
  var whenInitialized: (() -> Void)?

  /// - Parameter publish: takes the hosts as they should be; says whether they had changed.
  init(
    config: Ref<ClusterConfig>, resolver: DNSResolver, loop: EventLoop, stats: Ref<ClusterStats>,
    counters: WorkerStats, publish: @escaping ([HostPublisher.Wanted]) -> Bool
  ) {
    self.config = config
    self.resolver = resolver
    self.loop = loop
    self.stats = stats
    self.counters = counters
    self.publish = publish
    for index in 0..<config.value.endpoints.count {
      targets.append(DNSTarget(cluster: self, endpoint: config.value.endpoints[index]))
    }
  }

  /// Asks for every name.
  func start() { for target in targets { target.ask() } }

  /// Asks no more.
  func stop() { for target in targets { target.stop() } }

  fileprivate func ask(_ target: DNSTarget) {
    counters.add(stats.value.updates.attempt)
    let endpoint = target.endpoint.value
    target.query = resolver.resolve(
      endpoint.dnsName.string, port: endpoint.port, lookup: config.value.dns.lookup
    ) { [weak self, weak target] answer in
      guard let self, let target else { return }
      receive(answer, for: target)
    }
  }

  private func receive(_ answer: DNSAnswer, for target: DNSTarget) {
    target.query = nil
    let dns = config.value.dns
    var wait = dns.refreshRate
    switch answer {
    // A logical host without an address would only fail where the old address may still do, so
    // for it an empty answer is a failure, as in Envoy.
    case .records(let records) where !records.isEmpty || config.value.discovery == .strictDNS:
      counters.add(stats.value.updates.success)
      target.failures = 0
      target.isFailing = false
      target.addresses = Self.ordered(records.map(\.address))
      if !publish(targets.flatMap(wanted)) { counters.add(stats.value.updates.noRebuild) }
      let ttl = records.map(\.ttl).min() ?? 0
      if dns.respectsTTL, ttl > 0 { wait = UInt64(ttl) * 1000 }
    case .records, .failure:
      counters.add(stats.value.updates.failure)
      tell(answer, about: target)
      if let backoff = dns.failureBackoff { wait = target.nextBackoff(backoff, loop) }
    }
    if isFirstAnswer {
      isFirstAnswer = false
      whenInitialized?()
      whenInitialized = nil
    }
    target.askAgain(after: wait, on: loop)
  }

  /// Failures are logged once until the name is answered for again.
  private func tell(_ answer: DNSAnswer, about target: DNSTarget) {
    let level = target.isFailing ? ProcessLogLevel.debug : .warning
    target.isFailing = true
    var reason = "it has no address"
    if case .failure(let sentence) = answer { reason = sentence }
    ProcessLog.shared.log(level, .dns, "cluster '\(config.value.name.string)': \(reason)")
  }

  private func wanted(_ target: DNSTarget) -> [HostPublisher.Wanted] {
    let endpoint = target.endpoint
    let hostname =
      endpoint.value.hostname.isEmpty ? endpoint.value.dnsName : endpoint.value.hostname
    guard config.value.discovery == .logicalDNS else {
      return target.addresses.map {
        .init(endpoint: endpoint, identity: $0, addresses: [$0], hostname: hostname)
      }
    }
    guard !target.addresses.isEmpty else { return [] }
    let addresses = Array(target.addresses.prefix(ConfigBounds.addressesPerHost))
    return [.init(endpoint: endpoint, identity: nil, addresses: addresses, hostname: hostname)]
  }

  /// Each address once, IPv6 before IPv4: two queries are answered in any order, and which came
  /// first should not look like a change.
  private static func ordered(_ addresses: [SocketAddress]) -> [SocketAddress] {
    var seen: Set<String> = []
    let unique = addresses.filter { seen.insert($0.description).inserted }
    return unique.filter(\.isIPv6) + unique.filter { !$0.isIPv6 }
  }
}

/// One name of a DNS cluster.
private final class DNSTarget {
  unowned let cluster: DNSCluster
  let endpoint: Ref<EndpointConfig>
  var addresses: [SocketAddress] = []
  var query: DNSQuery?
  /// Failures in a row.
  var failures: UInt64 = 0
  /// The last answer was none.
  var isFailing = false
  private var timer = TimerID.none
  private var loop: EventLoop?

  init(cluster: DNSCluster, endpoint: Ref<EndpointConfig>) {
    self.cluster = cluster
    self.endpoint = endpoint
  }

  deinit { stop() }

  func ask() { cluster.ask(self) }

  func askAgain(after milliseconds: UInt64, on loop: EventLoop) {
    self.loop = loop
    // SAFETY: `deinit` cancels the timer.
    unsafe timer = loop.after(
      milliseconds: milliseconds, context: Unmanaged.passUnretained(self).toOpaque()
    ) { context, _ in
      unsafe Unmanaged<DNSTarget>.fromOpaque(context).takeUnretainedValue().ask()
    }
  }

  func stop() {
    query?.cancel()
    query = nil
    loop?.cancel(timer)
    timer = .none
  }

  /// A random wait below a bound that doubles with every failure, as Envoy's.
  func nextBackoff(_ range: BackoffRange, _ loop: EventLoop) -> UInt64 {
    // Durations end at a hundred years (`ConfigLimits`), so twenty doublings do not overflow.
    let bound = max(1, min(range.base << min(failures, 20), range.most))
    failures += 1
    return loop.state.value.random.next(below: bound)
  }
}
