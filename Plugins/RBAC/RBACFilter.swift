import FilterSDK

/// The table for `envoy.extensions.filters.http.rbac.v3.RBAC`.
public let rbacFilter = FilterTable(RBACFilter.self)

/// Lets requests through, or refuses them, by rules of access: who asks (the names in the client's
/// certificate, its address, a field), and for what (path, port, server name, a field). Shadow rules
/// are asked too, and only counted and noted.
///
/// What came of it stands in the metadata of `envoy.filters.http.rbac`, for later filters and logs.
///
/// Withstands an untrusted downstream, against which it is made, and an untrusted upstream.
public struct RBACFilter: RouteConfigurable, RequestHeadFilter {
  public init(config: borrowing Config) {}

  public mutating func onRequestHead(
    _ head: borrowing RequestHeadView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    guard let route = context.routeConfig(of: Self.self) else {
      return judge(config.rules, config, context)
    }
    return judge(route.value, config, context)
  }

  private func judge(
    _ rules: borrowing Rules, _ config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    if let shadow = rules.shadow { _ = shadow.ask(context, counting: config.shadow) }
    guard let enforced = rules.enforced else { return .continue }
    let answer = enforced.ask(context, counting: config.enforced)
    if enforced.action == .log {
      context.setMetadata("envoy.common", "access_log_hint", flag: answer.policy != nil)
    }
    guard !answer.isAllowed else { return .continue }
    return context.reply(
      status: 403, body: "RBAC: access denied", details: enforced.details(of: answer))
  }
}
