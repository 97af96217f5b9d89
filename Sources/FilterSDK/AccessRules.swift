import CFilterABI

/// Compiled rules of access (`envoy.config.rbac.v3.RBAC`); ask with `StreamContext.match`.
@safe @frozen
public struct AccessRules: BitwiseCopyable {
  @usableFromInline let raw: UnsafeRawPointer
  @unsafe @inlinable init(_ raw: UnsafeRawPointer) { unsafe self.raw = raw }

  /// The name of the policy at `index`, in the order in which they are asked; nil past the last.
  public func policyName(_ index: Int) -> ByteView? {
    var name = unsafe fl_bytes()
    guard unsafe Host.table.access_policy.unsafelyUnwrapped(raw, index, &name) else { return nil }
    return unsafe ByteView(name)
  }
}

extension ConfigLoader {
  /// The rules in the field `name`; nil when they are absent or wrong.
  public func accessRules(_ node: ConfigNode, _ name: StaticString) -> AccessRules? {
    guard let rules = node.message(name),
      let raw = unsafe Host.table.load_access_rules.unsafelyUnwrapped(config, rules.node)
    else { return nil }
    return unsafe AccessRules(raw)
  }
}

extension StreamContext {
  /// The first policy that the request matches.
  @inlinable public func match(_ rules: AccessRules) -> Int? {
    let index = unsafe Host.table.access_match.unsafelyUnwrapped(stream, rules.raw)
    return index == Int(bitPattern: UInt.max) ? nil : index
  }
}
