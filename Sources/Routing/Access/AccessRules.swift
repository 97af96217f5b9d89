import Engine
import ResourceModel
import Resources

/// Compiled `envoy.config.rbac.v3.RBAC`: its policies in the order of their names, in which Envoy asks
/// them too.
package struct AccessRules: BitwiseCopyable {
  /// What is done when a policy matches.
  package enum Action: BitwiseCopyable {
    /// Lets through what matches, and nothing else.
    case allow
    /// Lets through what does not match.
    case deny
    /// Lets everything through, and says whether it matches.
    case log

    /// Whether a subject may pass.
    package func admits(matched: Bool) -> Bool {
      switch self {
      case .allow: matched
      case .deny: !matched
      case .log: true
      }
    }
  }

  /// Matches when one of its permissions and one of its principals do.
  struct Policy: BitwiseCopyable {
    let name: Bytes
    let permissions: AccessCondition
    let principals: AccessCondition
  }

  package let action: Action
  private let policies: Table<Policy>

  init(_ action: Action, _ policies: [Policy]) {
    self.action = action
    self.policies = .configured(policies)
  }

  package var count: Int { policies.count }

  /// The name of the policy at `index`, which must be in bounds.
  package func name(of index: Int) -> Bytes { policies[index].name }

  /// The first policy that matches.
  package func match(_ subject: some AccessSubject) -> Int? {
    var index = 0
    while index < policies.count {
      if policies[index].permissions.matches(subject), policies[index].principals.matches(subject) {
        return index
      }
      index &+= 1
    }
    return nil
  }
}
