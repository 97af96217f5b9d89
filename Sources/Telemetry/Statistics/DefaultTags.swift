/// Envoy's default rules, in the order in which Envoy tries them: those with an expression of their
/// own first, then the dotted patterns.
enum DefaultTags {
  struct Rule {
    var name: String
    var find: @Sendable (TokenizedName) -> TagRules.Match?
  }

  /// How many rules look at any name; they come first, the others know how the name begins.
  static let anywhereCount = 3

  static let rules: [Rule] = [
    Rule(name: "envoy.response_code", find: responseCode),
    Rule(name: "envoy.response_code_class", find: responseCodeClass),
    dotted("envoy.local_http_ratelimit_prefix", "$.http_local_rate_limit.**"),
    Rule(name: "envoy.ssl_cipher") { tlsDetail($0, "ciphers", of: ["listener"]) },
    Rule(name: "envoy.ssl_curve") { tlsDetail($0, "curves", of: ["listener", "cluster"]) },
    Rule(name: "envoy.ssl_sigalg") { tlsDetail($0, "sigalgs", of: ["listener", "cluster"]) },
    Rule(name: "envoy.ssl_version") { tlsDetail($0, "versions", of: ["listener", "cluster"]) },
    Rule(name: "envoy.ssl_cipher_suite") { tlsDetail($0, "ciphers", of: ["cluster"]) },
    Rule(name: "envoy.http_conn_manager_prefix", find: listenerConnectionManager),
    Rule(name: "envoy.worker_id", find: workerID),
    Rule(name: "envoy.listener_address", find: listenerAddress),
    Rule(name: "envoy.rds_route_config", find: routeConfiguration),
    dotted("envoy.mongo_callsite", "mongo.*.collection.*.callsite.$.query.**"),
    dotted("envoy.mongo_collection", "mongo.*.collection.$.**.query.*"),
    dotted("envoy.mongo_cmd", "mongo.*.cmd.$.**"),
    dotted("envoy.grpc_bridge_method", "cluster.*.grpc.*.$.**"),
    dotted("envoy.http_user_agent", "http.*.user_agent.$.**"),
    dotted("envoy.virtual_cluster", "vhost.*.vcluster.$.**"),
    dotted("envoy.fault_downstream_cluster", "http.*.fault.$.**"),
    dotted("envoy.grpc_bridge_service", "cluster.*.grpc.$.**"),
    dotted("envoy.tcp_prefix", "tcp.$.**"),
    dotted("envoy.udp_prefix", "udp.$.**"),
    dotted("envoy.clientssl_prefix", "auth.clientssl.$.**"),
    dotted("envoy.ratelimit_prefix", "ratelimit.$.**"),
    dotted("envoy.cluster_name", "cluster.$.**"),
    dotted("envoy.ext_authz_prefix", "cluster.*.ext_authz.$.**"),
    dotted("envoy.ext_authz_prefix", "http.*.ext_authz.$.**"),
    dotted("envoy.http_conn_manager_prefix", "http.$.**"),
    dotted("envoy.virtual_host", "vhost.$.**"),
    dotted("envoy.mongo_prefix", "mongo.$.**"),
    dotted("envoy.route", "vhost.*.route.$.**"),
    dotted("envoy.thrift_prefix", "thrift.$.**"),
    dotted("envoy.redis_prefix", "redis.$.**"),
    dotted("envoy.local_network_ratelimit_prefix", "local_rate_limit.$.**"),
    dotted("envoy.local_listener_ratelimit_prefix", "listener_local_ratelimit.$.**"),
    dotted("envoy.dns_filter_prefix", "dns_filter.$.**"),
  ]

  // MARK: Dotted patterns

  private enum Part: Equatable, Sendable {
    case literal([UInt8])
    /// `*`: one part, whatever it is.
    case any
    /// `$`: the part that becomes the value.
    case value
    /// `**`: one part or more.
    case rest
  }

  private static func dotted(_ name: String, _ pattern: String) -> Rule {
    let parts = pattern.split(separator: ".").map { part -> Part in
      switch part {
      case "*": .any
      case "$": .value
      case "**": .rest
      default: .literal(Array(part.utf8))
      }
    }
    return Rule(name: name) { parsed in
      find(parts[...], in: parsed, from: 0).flatMap { parsed.match(token: $0) }
    }
  }

  /// The index of the part that `$` meets, or nil when the name does not fit.
  private static func find(
    _ pattern: ArraySlice<Part>, in name: TokenizedName, from start: Int, value: Int? = nil
  ) -> Int? {
    guard let part = pattern.first else { return start == name.tokens.count ? value : nil }
    guard start < name.tokens.count else { return nil }
    let after = pattern.dropFirst()
    switch part {
    case .literal(let bytes):
      guard name.bytes[name.tokens[start]].elementsEqual(bytes) else { return nil }
      return find(after, in: name, from: start + 1, value: value)
    case .any: return find(after, in: name, from: start + 1, value: value)
    case .value: return find(after, in: name, from: start + 1, value: start)
    case .rest:
      if after.isEmpty { return value }
      for next in (start + 1)..<max(start + 2, name.tokens.count) {
        if let found = find(after, in: name, from: next, value: value) { return found }
      }
      return nil
    }
  }

  // MARK: Rules with a shape of their own

  private static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

  /// `…_rq_200`
  @Sendable private static func responseCode(_ name: TokenizedName) -> TagRules.Match? {
    let bytes = name.bytes
    let end = bytes.count
    guard end >= 7, bytes[(end - 7)..<(end - 3)].elementsEqual("_rq_".utf8),
      bytes[(end - 3)...].allSatisfy(isDigit)
    else { return nil }
    return TagRules.Match(removed: end - 4..<end, value: end - 3..<end)
  }

  /// `…_rq_2xx`
  @Sendable private static func responseCodeClass(_ name: TokenizedName) -> TagRules.Match? {
    let bytes = name.bytes
    let end = bytes.count
    guard end >= 7, bytes[(end - 7)..<(end - 3)].elementsEqual("_rq_".utf8),
      isDigit(bytes[end - 3]), bytes[(end - 2)...].elementsEqual("xx".utf8)
    else { return nil }
    return TagRules.Match(removed: end - 3..<end - 2, value: end - 3..<end - 2)
  }

  /// `listener.….ssl.ciphers.X`
  @Sendable private static func tlsDetail(
    _ name: TokenizedName, _ detail: StaticString, of roots: [StaticString]
  ) -> TagRules.Match? {
    // A TLS version has a dot inside: `TLSv1.3`.
    let parts = name.tokens.count
    let isVersion = detail.bytes.elementsEqual("versions".utf8)
    let last = isVersion ? parts - 2 : parts - 1
    guard last >= 4, roots.contains(where: { name.token(0, is: $0) }),
      name.token(last - 1, is: detail), name.token(last - 2, is: "ssl")
    else { return nil }
    let start = name.tokens[last].lowerBound
    return TagRules.Match(removed: start - 1..<name.bytes.count, value: start..<name.bytes.count)
  }

  /// `listener.….http.<prefix>.…`
  @Sendable private static func listenerConnectionManager(_ name: TokenizedName) -> TagRules.Match?
  {
    guard name.token(0, is: "listener"),
      let http = name.tokens.indices.dropFirst(2).first(where: { name.token($0, is: "http") }),
      http + 2 < name.tokens.count
    else { return nil }
    return name.match(token: http + 1)
  }

  /// How many parts the address of `listener.<address>.` has: four where it is an IPv4 address with
  /// its port, one otherwise.
  private static func addressParts(_ name: TokenizedName) -> Int {
    let bytes = name.bytes
    guard name.tokens.count > 5 else { return 1 }
    for index in 1...3 {
      let token = name.tokens[index]
      guard (1...3).contains(token.count), bytes[token].allSatisfy(isDigit) else { return 1 }
    }
    let pieces = bytes[name.tokens[4]].split(
      separator: UInt8(ascii: "_"), omittingEmptySubsequences: false)
    guard pieces.count == 2, (1...3).contains(pieces[0].count), !pieces[1].isEmpty,
      pieces[0].allSatisfy(isDigit), pieces[1].allSatisfy(isDigit)
    else { return 1 }
    return 4
  }

  /// `listener.<address>.…`, but not the admin's listener.
  @Sendable private static func listenerAddress(_ name: TokenizedName) -> TagRules.Match? {
    guard name.token(0, is: "listener"), !name.token(1, is: "admin") else { return nil }
    let last = addressParts(name)
    guard last + 1 < name.tokens.count, !name.tokens[1].isEmpty else { return nil }
    let value = name.tokens[1].lowerBound..<name.tokens[last].upperBound
    return TagRules.Match(removed: value.lowerBound..<value.upperBound + 1, value: value)
  }

  /// `listener.<address>.worker_0.…`, `listener_manager.worker_0.…` and `server.worker_0.…`
  @Sendable private static func workerID(_ name: TokenizedName) -> TagRules.Match? {
    let index: Int
    if name.token(0, is: "listener") {
      index = addressParts(name) + 1
    } else if name.token(0, is: "server") || name.token(0, is: "listener_manager")
      || name.token(0, is: "thread_local_cluster_manager")
    {
      index = 1
    } else {
      return nil
    }
    guard index + 1 < name.tokens.count else { return nil }
    let token = name.tokens[index]
    let prefix = "worker_".utf8
    guard name.bytes[token].starts(with: prefix) else { return nil }
    let value = token.lowerBound + prefix.count..<token.upperBound
    guard !value.isEmpty, name.bytes[value].allSatisfy(isDigit) else { return nil }
    // "worker_" stays: `listener_worker_downstream_cx_total`, the number and the dot go.
    return TagRules.Match(removed: value.lowerBound..<value.upperBound + 1, value: value)
  }

  /// `http.<prefix>.rds.<route configuration, which may have dots>.<statistic>`
  @Sendable private static func routeConfiguration(_ name: TokenizedName) -> TagRules.Match? {
    guard name.token(0, is: "http"), name.token(2, is: "rds"), name.tokens.count >= 5,
      let last = name.tokens.last
    else { return nil }
    let value = name.tokens[3].lowerBound..<last.lowerBound - 1
    guard !value.isEmpty else { return nil }
    return TagRules.Match(removed: value.lowerBound..<value.upperBound + 1, value: value)
  }
}
