import FilterSDK

/// Rules, and what is told of their answers.
struct RuleSet: BitwiseCopyable {
  enum Kind: BitwiseCopyable {
    case enforced
    /// Asked to see what would be.
    case shadow
  }

  /// What is done when a policy matches.
  enum Action: BitwiseCopyable {
    case allow
    case deny
    case log
  }

  struct Policy: BitwiseCopyable {
    let name: ByteView
    /// What `%RESPONSE_CODE_DETAILS%` shows of a request that was refused for its sake.
    let details: ByteView
    let allowed: Counter?
    let denied: Counter?
  }

  /// What came of asking.
  struct Answer: BitwiseCopyable {
    let isAllowed: Bool
    let policy: Int?
  }

  let rules: AccessRules
  let action: Action
  let policies: StaticList<Policy>
  /// The keys of the metadata under which answers are noted.
  let policyKey: ByteView
  let resultKey: ByteView

  /// Asks the rules about the request, counts the answer and notes it.
  func ask(_ context: borrowing StreamContext, counting totals: Totals) -> Answer {
    let policy = context.match(rules)
    let isAllowed: Bool =
      switch action {
      case .allow: policy != nil
      case .deny: policy == nil
      case .log: true
      }
    context.add(to: isAllowed ? totals.allowed : totals.denied)
    let space: ByteView = "envoy.filters.http.rbac"
    if let policy {
      let matched = policies[policy]
      if let counter = isAllowed ? matched.allowed : matched.denied { context.add(to: counter) }
      if !matched.name.isEmpty { context.setMetadata(space, policyKey, matched.name) }
    }
    context.setMetadata(space, resultKey, isAllowed ? "allowed" : "denied")
    return Answer(isAllowed: isAllowed, policy: policy)
  }

  /// What the response's details say of a request that was refused.
  func details(of answer: Answer) -> ByteView {
    answer.policy.map { policies[$0].details } ?? "rbac_access_denied_matched_policy[none]"
  }
}

/// How many requests rules have let through, and refused.
struct Totals: BitwiseCopyable {
  let allowed: Counter
  let denied: Counter
}
