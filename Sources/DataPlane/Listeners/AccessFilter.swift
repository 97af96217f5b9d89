import Engine
import Routing
import Telemetry

/// `envoy.filters.network.rbac`, compiled: it lets a connection through, or refuses it, when its
/// client says something for the first time.
struct AccessFilter {
  /// Asked to see what would be; nothing follows from it.
  let shadow: RuleSet?
  let enforced: RuleSet?
  /// Asked again whenever the client says something.
  let isContinuous: Bool
  /// How long a refused connection is kept; milliseconds.
  let refusalDelay: UInt64

  /// Rules, and what is told of their answers.
  struct RuleSet {
    let rules: AccessRules
    /// For each policy what `%CONNECTION_TERMINATION_DETAILS%` shows of a connection that was refused
    /// for its sake.
    let details: Table<Bytes>
    let allowed: CounterID
    let denied: CounterID
    /// The keys of the metadata under which the answer is noted; empty: it is not.
    let policyKey: Bytes
    let resultKey: Bytes
  }

  /// What becomes of a connection.
  enum Verdict {
    case passes
    case refused(delay: UInt64)
  }
}

/// What the rules of access of a connection's chain have made of it.
struct ConnectionAccess: ~Copyable {
  enum Phase: UInt8 {
    /// Nobody asks, or asks again.
    case settled
    /// The client has said nothing yet.
    case waiting
    /// It may go on; some of the rules are asked again.
    case watched
    case refused
  }

  var phase = Phase.settled
  /// What `%CONNECTION_TERMINATION_DETAILS%` shows of a refused one.
  fileprivate(set) var details = Bytes.empty
  fileprivate(set) var metadata = Metadata()

  mutating func release(into pool: inout BlockPool) { metadata.release(into: &pool) }
}

/// A connection, as rules of access ask about it.
struct ConnectionSubject: AccessSubject {
  let local: SocketAddress
  let remote: SocketAddress
  let directRemote: SocketAddress
  let secured: SecureHandle?
  let serverName: Bytes
  let told: ConnectionTLVs?
  let access: Ref<ConnectionAccess>

  func address(_ which: AccessAddress) -> SocketAddress {
    switch which {
    case .destination: local
    case .directRemote: directRemote
    case .source, .remote: remote
    }
  }

  var isSecured: Bool { secured != nil }

  func peerName(_ kind: AccessName, _ index: Int) -> Bytes? {
    secured?.facts.peerNames?.find(kind.abi, index)
  }

  func fitsServerName(_ matcher: StringMatcher) -> Bool { matcher.matches(serverName) }
  func fits(_ matcher: HeaderMatcher) -> Bool { false }
  var path: Bytes? { nil }

  func metadata(_ space: Bytes, _ key: Bytes) -> MetadataValue? {
    access.value.metadata.value(space, key)
      ?? told?.text(space, key).map { MetadataValue($0) }
  }
}

extension NetworkFilters {
  /// The client has said something: each filter has its turn, until one refuses.
  func judge(
    _ subject: ConnectionSubject, _ stats: WorkerStats, _ loop: EventLoop
  ) -> AccessFilter.Verdict {
    let access = subject.access
    let isFirst = access.value.phase == .waiting
    for index in 0..<all.count {
      guard case .access(let filter) = all[index], isFirst || filter.value.isContinuous else {
        continue
      }
      if let shadow = filter.value.shadow { _ = shadow.ask(subject, stats, loop) }
      guard let enforced = filter.value.enforced else { continue }
      let answer = enforced.ask(subject, stats, loop)
      if enforced.rules.action == .log {
        access.value.metadata.set(
          Bytes("envoy.common"), Bytes("access_log_hint"),
          MetadataValue(flag: answer.policy != nil), from: &loop.state.value.blocks)
      }
      guard !answer.isAllowed else { continue }
      access.value.phase = .refused
      access.value.details =
        answer.policy.map { enforced.details[$0] }
        ?? Bytes("rbac_access_denied_matched_policy[none]")
      return .refused(delay: filter.value.refusalDelay)
    }
    access.value.phase = demand == .watched ? .watched : .settled
    return .passes
  }
}

extension AccessFilter.RuleSet {
  fileprivate func ask(
    _ subject: ConnectionSubject, _ stats: WorkerStats, _ loop: EventLoop
  ) -> (isAllowed: Bool, policy: Int?) {
    let policy = rules.match(subject)
    let isAllowed = rules.action.admits(matched: policy != nil)
    stats.add(isAllowed ? allowed : denied)
    guard !resultKey.isEmpty else { return (isAllowed, policy) }
    let space = Bytes("envoy.filters.network.rbac")
    if let policy, !rules.name(of: policy).isEmpty {
      subject.access.value.metadata.set(
        space, policyKey, MetadataValue(rules.name(of: policy)), from: &loop.state.value.blocks)
    }
    subject.access.value.metadata.set(
      space, resultKey, MetadataValue(Bytes(isAllowed ? "allowed" : "denied")),
      from: &loop.state.value.blocks)
    return (isAllowed, policy)
  }
}
