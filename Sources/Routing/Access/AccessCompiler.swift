import Engine
import ResourceModel
import Resources

/// Compiles rules of access. Mistakes go to the diagnostics.
package struct AccessCompiler {
  package typealias Message = Envoy_Config_Rbac_V3_RBAC
  private typealias Permission = Envoy_Config_Rbac_V3_Permission
  private typealias Principal = Envoy_Config_Rbac_V3_Principal
  private typealias Node = AccessCondition.Node
  private typealias Test = AccessCondition.Test

  private let diagnostics: Diagnostics
  /// A connection has no head: a rule that asks for one is a mistake, as in Envoy.
  private let hasHeads: Bool

  package init(_ diagnostics: Diagnostics, hasHeads: Bool) {
    self.diagnostics = diagnostics
    self.hasHeads = hasHeads
  }

  /// The rules, as far as they are right.
  package func compile(_ message: Message, at path: ConfigPath) -> AccessRules {
    let action: AccessRules.Action =
      switch message.action {
      case .deny: .deny
      case .log: .log
      default: .allow
      }
    let names = message.policies.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    let policies = names.compactMap { name in
      message.policies[name].map { policy(name, $0, at: path.field("policies").key(name)) }
    }
    return AccessRules(action, policies)
  }

  private func policy(
    _ name: String, _ message: Envoy_Config_Rbac_V3_Policy, at path: ConfigPath
  ) -> AccessRules.Policy {
    AccessRules.Policy(
      name: .configured(name),
      permissions: AccessCondition(
        group(.any, message.permissions, at: path.field("permissions")) { permission($0, at: $1) }),
      principals: AccessCondition(
        group(.any, message.principals, at: path.field("principals")) { principal($0, at: $1) }))
  }

  // MARK: Trees

  private func leaf(_ test: Test) -> [Node] { [Node(test: test, end: 1)] }

  /// A node with children, whose places are moved behind it.
  private func group<Child>(
    _ test: Test, _ children: [Child], at path: ConfigPath,
    _ compile: (Child, ConfigPath) -> [Node]
  ) -> [Node] {
    var nodes: [Node] = []
    for (index, child) in children.enumerated() {
      let start = Int32(clamping: nodes.count + 1)
      nodes += compile(child, path.index(index)).map {
        Node(test: $0.test, end: $0.end + start)
      }
    }
    return [Node(test: test, end: Int32(clamping: nodes.count + 1))] + nodes
  }

  private func not(_ child: [Node]) -> [Node] {
    group(.not, [child], at: .root) { nodes, _ in nodes }
  }

  private func permission(_ message: Permission, at path: ConfigPath) -> [Node] {
    switch message.rule {
    case .andRules(let set):
      group(.all, set.rules, at: path.field("and_rules").field("rules")) { permission($0, at: $1) }
    case .orRules(let set):
      group(.any, set.rules, at: path.field("or_rules").field("rules")) { permission($0, at: $1) }
    case .notRule(let rule): not(permission(rule, at: path.field("not_rule")))
    case .any: leaf(.always)
    case .header(let matcher): leaf(header(matcher, at: path.field("header")))
    case .urlPath(let matcher): leaf(self.path(matcher, at: path.field("url_path")))
    case .destinationIp(let range):
      leaf(address(.destination, range, at: path.field("destination_ip")))
    case .destinationPort(let port): leaf(.port(start: Int64(port), end: Int64(port) + 1))
    case .destinationPortRange(let range):
      leaf(ports(range, at: path.field("destination_port_range")))
    case .requestedServerName(let matcher):
      leaf(
        text(matcher, at: path.field("requested_server_name")).map { .serverName($0) } ?? .never)
    case .metadata(let matcher): leaf(metadata(matcher, at: path.field("metadata")))
    case .sourcedMetadata(let sourced):
      leaf(
        metadata(
          sourced.metadataMatcher, at: path.field("sourced_metadata").field("metadata_matcher")))
    case nil: leaf(.never)
    }
  }

  private func principal(_ message: Principal, at path: ConfigPath) -> [Node] {
    switch message.identifier {
    case .andIds(let set):
      group(.all, set.ids, at: path.field("and_ids").field("ids")) { principal($0, at: $1) }
    case .orIds(let set):
      group(.any, set.ids, at: path.field("or_ids").field("ids")) { principal($0, at: $1) }
    case .notID(let id): not(principal(id, at: path.field("not_id")))
    case .any: leaf(.always)
    case .authenticated(let message):
      leaf(
        message.hasPrincipalName
          ? text(
            message.principalName, at: path.field("authenticated").field("principal_name")
          ).map { .authenticated($0) } ?? .never : .secured)
    case .sourceIp(let range): leaf(address(.source, range, at: path.field("source_ip")))
    case .directRemoteIp(let range):
      leaf(address(.directRemote, range, at: path.field("direct_remote_ip")))
    case .remoteIp(let range): leaf(address(.remote, range, at: path.field("remote_ip")))
    case .header(let matcher): leaf(header(matcher, at: path.field("header")))
    case .urlPath(let matcher): leaf(self.path(matcher, at: path.field("url_path")))
    case .metadata(let matcher): leaf(metadata(matcher, at: path.field("metadata")))
    case .sourcedMetadata(let sourced):
      leaf(
        metadata(
          sourced.metadataMatcher, at: path.field("sourced_metadata").field("metadata_matcher")))
    case nil: leaf(.never)
    }
  }

  // MARK: Leaves

  private func header(
    _ message: Envoy_Config_Route_V3_HeaderMatcher, at path: ConfigPath
  ) -> Test {
    guard hasHeads else {
      diagnostics.error(at: path, "a connection has no header; Envoy refuses this too")
      return .never
    }
    return HeaderMatcher(message, at: path, diagnostics).map { .header($0) } ?? .never
  }

  private func path(_ message: Envoy_Type_Matcher_V3_PathMatcher, at path: ConfigPath) -> Test {
    text(message.path, at: path.field("path")).map { .path($0) } ?? .never
  }

  private func text(
    _ message: Envoy_Type_Matcher_V3_StringMatcher, at path: ConfigPath
  ) -> StringMatcher? { StringMatcher(message, at: path, diagnostics) }

  private func metadata(
    _ message: Envoy_Type_Matcher_V3_MetadataMatcher, at path: ConfigPath
  ) -> Test { .metadata(MetadataMatcher(message, at: path, diagnostics)) }

  private func address(
    _ which: AccessAddress, _ range: Envoy_Config_Core_V3_CidrRange, at path: ConfigPath
  ) -> Test {
    guard let address = SocketAddress(ip: range.addressPrefix, port: 0) else {
      diagnostics.error(
        at: path.field("address_prefix"),
        "expected an IP address, found \"\(range.addressPrefix)\"")
      return .never
    }
    let most: UInt32 = address.isIPv6 ? 128 : 32
    guard range.prefixLen.value <= most else {
      diagnostics.error(
        at: path.field("prefix_len"), "expected at most \(most), found \(range.prefixLen.value)")
      return .never
    }
    return .address(which, AddressRange(address, bits: Int(range.prefixLen.value)))
  }

  private func ports(_ range: Envoy_Type_V3_Int32Range, at path: ConfigPath) -> Test {
    guard range.start >= 0, range.start < range.end, range.end <= 65_536 else {
      diagnostics.error(
        at: path, "expected a range of ports, found \(range.start) up to \(range.end)")
      return .never
    }
    return .port(start: Int64(range.start), end: Int64(range.end))
  }
}
