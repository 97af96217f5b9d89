import Engine

/// Chooses a listener's filter chain, as Envoy does: nine steps, from the destination's port to the
/// source's; each keeps the chains with the most specific value that fits, and nothing is taken back.
struct ChainMatcher {
  /// Nil when only the default chain is there.
  let root: Ref<MatchNode>?
  /// `default_filter_chain`.
  let fallback: Ref<NetworkChain>?

  /// The chain for a connection; nil when none takes it.
  func find(_ facts: borrowing ConnectionFacts) -> Ref<NetworkChain>? {
    var node = root
    while let current = node {
      guard let branch = current.value.branch(for: facts) else { return fallback }
      if let chain = branch.chain { return chain }
      node = branch.next
    }
    return fallback
  }

  /// The steps in Envoy's order.
  enum Step: Int, CaseIterable {
    case port
    case destination
    case serverName
    case transport
    case application
    case directSource
    case sourceType
    case source
    case sourcePort
  }
}

/// One step of the decision, behind what the steps before it have chosen.
struct MatchNode {
  /// A value of the step, and where it leads: to the next step, or behind the last one to a chain.
  struct Branch: BitwiseCopyable {
    let key: MatchKey
    let next: Ref<MatchNode>?
    let chain: Ref<NetworkChain>?
  }

  let step: ChainMatcher.Step
  /// Names in order of their bytes, ranges from the narrowest to the widest.
  let branches: Table<Branch>

  fileprivate func branch(for facts: borrowing ConnectionFacts) -> Branch? {
    switch step {
    case .port: number(UInt32(facts.local.port))
    case .destination: range(facts.local)
    case .serverName: serverName(facts)
    case .transport: exact(facts.transport.name) ?? exact(.empty)
    case .application: facts.firstProtocol { exact($0) } ?? exact(.empty)
    case .directSource: range(facts.directRemote)
    case .sourceType: sourceType(facts)
    case .source: range(facts.remote)
    case .sourcePort: number(UInt32(facts.remote.port))
    }
  }

  /// The number itself, or else any.
  private func number(_ number: UInt32) -> Branch? {
    var any: Branch?
    for index in 0..<branches.count {
      if case .number(number) = branches[index].key { return branches[index] }
      if case .number(0) = branches[index].key { any = branches[index] }
    }
    return any
  }

  private func range(_ address: SocketAddress) -> Branch? {
    for index in 0..<branches.count {
      guard case .range(let range) = branches[index].key else { continue }
      if address.isUnix ? range.isEverything : range.contains(address) { return branches[index] }
    }
    return nil
  }

  private func exact(_ name: Bytes) -> Branch? {
    var low = 0
    var high = branches.count
    while low < high {
      let middle = (low + high) / 2
      guard case .name(let candidate) = branches[middle].key else { return nil }
      switch candidate.compare(name) {
      case 0: return branches[middle]
      case ..<0: low = middle + 1
      default: high = middle
      }
    }
    return nil
  }

  /// The whole name, then its suffixes from the longest (`.example.com` stands for
  /// `*.example.com`), then chains that ask for no name.
  private func serverName(_ facts: borrowing ConnectionFacts) -> Branch? {
    guard let hello = facts.hello else { return exact(.empty) }
    return hello.serverName.withBytes { name in
      if !name.isEmpty, let branch = exact(name) { return branch }
      var dot = name.firstIndex(of: UInt8(ascii: "."), from: 1)
      while let start = dot, start < name.count - 1 {
        if let branch = exact(name.dropFirst(start)) { return branch }
        dot = name.firstIndex(of: UInt8(ascii: "."), from: start + 1)
      }
      return exact(.empty)
    }
  }

  private func sourceType(_ facts: borrowing ConnectionFacts) -> Branch? {
    let own: MatchKey.Source = facts.isLocal ? .local : .external
    var any: Branch?
    for index in 0..<branches.count {
      guard case .source(let source) = branches[index].key else { continue }
      if source == own { return branches[index] }
      if source == .any { any = branches[index] }
    }
    return any
  }
}

/// A value that a filter chain asks for in one step.
enum MatchKey: BitwiseCopyable {
  enum Source: BitwiseCopyable {
    case any
    case local
    case external
  }

  /// A port; 0 stands for every one.
  case number(UInt32)
  case range(AddressRange)
  /// Empty stands for every one.
  case name(Bytes)
  case source(Source)
}
