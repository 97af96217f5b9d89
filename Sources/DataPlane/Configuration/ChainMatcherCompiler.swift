import Engine
import ResourceModel
import Resources

/// Lays out the decision between a listener's filter chains: one node for each step and choice.
struct ChainMatcherCompiler {
  typealias Match = Envoy_Config_Listener_V3_FilterChainMatch

  /// A chain, and what it asks of its connections.
  struct Candidate {
    let match: Match
    let chain: Ref<NetworkChain>
    let path: ConfigPath
  }

  let diagnostics: Diagnostics

  func compile(_ candidates: [Candidate], fallback: Ref<NetworkChain>?) -> ChainMatcher {
    ChainMatcher(
      root: candidates.isEmpty ? nil : node(candidates, at: ChainMatcher.Step.allCases[...]),
      fallback: fallback)
  }

  /// - Parameter steps: those that are still to be decided, at least one.
  private func node(
    _ candidates: [Candidate], at steps: ArraySlice<ChainMatcher.Step>
  ) -> Ref<MatchNode>? {
    guard let step = steps.first else { return nil }
    var groups: [(key: MatchKey, candidates: [Candidate])] = []
    for candidate in candidates {
      for key in keys(of: candidate.match, in: step) {
        if let index = groups.firstIndex(where: { $0.key.isSame(as: key) }) {
          groups[index].candidates.append(candidate)
        } else {
          groups.append((key, [candidate]))
        }
      }
    }
    let rest = steps.dropFirst()
    let branches = groups.sorted { $0.key.comes(before: $1.key) }.map { group in
      if rest.isEmpty { reportTwins(group.candidates) }
      return MatchNode.Branch(
        key: group.key, next: rest.isEmpty ? nil : node(group.candidates, at: rest),
        chain: rest.isEmpty ? group.candidates.first?.chain : nil)
    }
    return .configured(MatchNode(step: step, branches: .configured(branches)))
  }

  /// Two chains that nothing tells apart: a connection could not be given to either.
  private func reportTwins(_ candidates: [Candidate]) {
    guard let first = candidates.first else { return }
    let line = diagnostics.location(of: first.path).line
    for twin in candidates.dropFirst() where !diagnostics.hasError(at: twin.path) {
      diagnostics.error(
        at: twin.path, "takes the same connections as the filter chain on line \(line)")
    }
  }

  // MARK: Keys

  private func keys(of match: Match, in step: ChainMatcher.Step) -> [MatchKey] {
    switch step {
    case .port: [.number(match.hasDestinationPort ? match.destinationPort.value : 0)]
    case .destination: ranges(match.prefixRanges)
    case .serverName: names(match.serverNames.map(Self.lowerCaseSuffix))
    case .transport: names(match.transportProtocol.isEmpty ? [] : [match.transportProtocol])
    case .application: names(match.applicationProtocols)
    case .directSource: ranges(match.directSourcePrefixRanges)
    case .sourceType: [.source(source(match.sourceType))]
    case .source: ranges(match.sourcePrefixRanges)
    case .sourcePort:
      match.sourcePorts.isEmpty ? [.number(0)] : match.sourcePorts.map { .number($0) }
    }
  }

  /// `*.example.com` is kept as `.example.com`, which no server's name can be.
  private static func lowerCaseSuffix(_ name: String) -> String {
    let lower = name.lowercased()
    return lower.hasPrefix("*.") ? String(lower.dropFirst()) : lower
  }

  private func names(_ names: [String]) -> [MatchKey] {
    names.isEmpty ? [.name(.empty)] : names.map { .name(.configured($0)) }
  }

  /// No range means every address of either family.
  private func ranges(_ messages: [Envoy_Config_Core_V3_CidrRange]) -> [MatchKey] {
    guard messages.isEmpty else {
      return messages.compactMap { AddressRange($0).map { .range($0) } }
    }
    return ["0.0.0.0", "::"].compactMap { text in
      SocketAddress(ip: text, port: 0).map { .range(AddressRange($0, bits: 0)) }
    }
  }

  private func source(_ type: Match.ConnectionSourceType) -> MatchKey.Source {
    switch type {
    case .sameIpOrLoopback: .local
    case .external: .external
    default: .any
    }
  }
}

extension MatchKey {
  fileprivate func isSame(as other: MatchKey) -> Bool {
    switch (self, other) {
    case (.number(let a), .number(let b)): a == b
    case (.range(let a), .range(let b)): a == b
    case (.name(let a), .name(let b)): a == b
    case (.source(let a), .source(let b)): a == b
    default: false
    }
  }

  /// Names in order of their bytes, ranges from the narrowest to the widest.
  fileprivate func comes(before other: MatchKey) -> Bool {
    switch (self, other) {
    case (.name(let a), .name(let b)): a.compare(b) < 0
    case (.range(let a), .range(let b)): a.bits > b.bits
    default: false
    }
  }
}
