import CFilterABI
import Engine
import HTTPModel
import ResourceModel
import Resources
import SwiftProtobuf
import Telemetry

/// Compiles what the routes of one virtual host do.
// SAFETY: the pointers inside a retry policy are for ever, and only C reads them.
@safe
struct ActionCompiler {
  private let context: RouteCompiler
  private let configuration: Envoy_Config_Route_V3_RouteConfiguration
  private let hostRetryPolicy: Ref<fl_retry_policy>?
  /// For routes without mirrors of their own.
  private let inheritedMirrors: Table<MirrorPolicy>

  private var diagnostics: Diagnostics { context.diagnostics }

  init(
    context: RouteCompiler, host: Envoy_Config_Route_V3_VirtualHost, hostPath: ConfigPath,
    configuration: Envoy_Config_Route_V3_RouteConfiguration, configurationPath: ConfigPath
  ) {
    self.context = context
    self.configuration = configuration
    unsafe hostRetryPolicy =
      unsafe host.hasRetryPolicy
      ? RetryPolicyCompiler.compile(
        host.retryPolicy, at: hostPath.field("retry_policy"), context.diagnostics) : nil
    let mirrors =
      host.requestMirrorPolicies.isEmpty
      ? configuration.requestMirrorPolicies : host.requestMirrorPolicies
    inheritedMirrors = Self.mirrors(mirrors, context)
  }

  /// What the route does; nil, and a diagnostic, when that cannot be compiled.
  func compile(_ route: Envoy_Config_Route_V3_Route, at path: ConfigPath) -> RouteEntry.Action? {
    switch route.action {
    case .route(let action): .forward(.configured(forward(action, at: path.field("route"))))
    case .redirect(let action): .redirect(.configured(redirect(action, at: path.field("redirect"))))
    case .directResponse(let action):
      directResponse(action, at: path.field("direct_response")).map { .respond(.configured($0)) }
    case nil: nil
    }
  }

  // MARK: Forwarding

  private func forward(
    _ action: Envoy_Config_Route_V3_RouteAction, at path: ConfigPath
  ) -> ForwardAction {
    checkHashPolicies(action.hashPolicy, at: path.field("hash_policy"))
    let retryPolicy =
      unsafe action.hasRetryPolicy
      ? RetryPolicyCompiler.compile(
        action.retryPolicy, at: path.field("retry_policy"), diagnostics) : hostRetryPolicy
    return unsafe ForwardAction(
      target: target(action, at: path),
      pathRewrite: pathRewrite(
        prefix: action.prefixRewrite, regex: action.hasRegexRewrite ? action.regexRewrite : nil,
        at: path),
      hostRewrite: hostRewrite(action, at: path),
      appendsForwardedHost: action.appendXForwardedHost,
      clusterNotFoundStatus: notFoundStatus(action.clusterNotFoundResponseCode),
      timeouts: .configured(timeouts(action, retryPolicy)),
      idleTimeoutMilliseconds: action.hasIdleTimeout ? action.idleTimeout.milliseconds : nil,
      maxStreamDuration: action.hasMaxStreamDuration ? duration(action.maxStreamDuration) : nil,
      retryPolicy: retryPolicy,
      mirrors: action.requestMirrorPolicies.isEmpty
        ? inheritedMirrors : Self.mirrors(action.requestMirrorPolicies, context),
      internalRedirect: action.hasInternalRedirectPolicy
        ? .configured(internalRedirect(action.internalRedirectPolicy)) : nil,
      isHighPriority: action.priority == .high,
      upgrades: Table.configured(
        action.upgradeConfigs.map {
          UpgradePolicy(
            type: .configured($0.upgradeType), isEnabled: $0.hasEnabled ? $0.enabled.value : true)
        }))
  }

  /// Hash policies say nothing to balancers that do not hash, and there is no other one yet: they
  /// are checked, and that is all.
  private func checkHashPolicies(
    _ policies: [Envoy_Config_Route_V3_RouteAction.HashPolicy], at path: ConfigPath
  ) {
    for (position, policy) in policies.enumerated() {
      guard case .header(let header)? = policy.policySpecifier, header.hasRegexRewrite else {
        continue
      }
      let place = path.index(position).field("header").field("regex_rewrite")
      _ = Regex.Substitution(header.regexRewrite, at: place, diagnostics)
    }
  }

  private func target(
    _ action: Envoy_Config_Route_V3_RouteAction, at path: ConfigPath
  ) -> ForwardAction.Target {
    switch action.clusterSpecifier {
    case .cluster(let name): .cluster(context.cluster(name))
    case .clusterHeader(let name): .header(.ofRequest(name))
    case .weightedClusters(let weighted):
      .weighted(.configured(self.weighted(weighted, at: path.field("weighted_clusters"))))
    case nil: .cluster(context.cluster(""))
    }
  }

  private func weighted(
    _ message: Envoy_Config_Route_V3_WeightedCluster, at path: ConfigPath
  ) -> WeightedClusters {
    var total: UInt64 = 0
    var choices: [WeightedClusters.Choice] = []
    for (position, cluster) in message.clusters.enumerated() {
      let path = path.field("clusters").index(position)
      let key = message.runtimeKeyPrefix + "." + cluster.name
      let override =
        message.runtimeKeyPrefix.isEmpty ? nil : context.options.runtime.integer(key)
      // Bounded, so that no sum of overrides wraps around.
      total += min(override ?? UInt64(cluster.weight.value), UInt64(UInt32.max))
      let mutations = context.levelMutations(
        cluster.requestHeadersToAdd, cluster.requestHeadersToRemove,
        cluster.responseHeadersToAdd, cluster.responseHeadersToRemove, at: path)
      choices.append(
        WeightedClusters.Choice(
          target: cluster.clusterHeader.isEmpty
            ? .cluster(context.cluster(cluster.name)) : .header(.ofRequest(cluster.clusterHeader)),
          hostRewrite: cluster.hostRewriteLiteral.isEmpty
            ? nil : .configured(cluster.hostRewriteLiteral),
          upperBound: total, requestMutations: mutations.request,
          responseMutations: mutations.response,
          filters: context.filterConfigs(cluster.typedPerFilterConfig, at: path)))
    }
    return WeightedClusters(
      choices: Table.configured(choices),
      randomHeader: message.headerName.isEmpty ? nil : .ofRequest(message.headerName))
  }

  private func pathRewrite(
    prefix: String, regex: Envoy_Type_Matcher_V3_RegexMatchAndSubstitute?, at path: ConfigPath
  ) -> PathRewrite {
    if !prefix.isEmpty { return .prefix(.configured(prefix)) }
    guard let regex else { return .none }
    let substitution = Regex.Substitution(regex, at: path.field("regex_rewrite"), diagnostics)
    return substitution.map(PathRewrite.regex) ?? .none
  }

  private func hostRewrite(
    _ action: Envoy_Config_Route_V3_RouteAction, at path: ConfigPath
  ) -> HostRewrite {
    switch action.hostRewriteSpecifier {
    case .hostRewriteLiteral(let host): return host.isEmpty ? .none : .literal(.configured(host))
    case .autoHostRewrite(let isOn): return isOn.value ? .automatic : .none
    case .hostRewriteHeader(let name): return name.isEmpty ? .none : .header(.ofRequest(name))
    case .hostRewritePathRegex(let regex):
      let path = path.field("host_rewrite_path_regex")
      return Regex.Substitution(regex, at: path, diagnostics).map(HostRewrite.pathRegex) ?? .none
    case nil: return .none
    }
  }

  private func notFoundStatus(
    _ code: Envoy_Config_Route_V3_RouteAction.ClusterNotFoundResponseCode
  ) -> UInt16 {
    switch code {
    case .notFound: 404
    case .internalServerError: 500
    case .serviceUnavailable, .UNRECOGNIZED: 503
    }
  }

  private func timeouts(
    _ action: Envoy_Config_Route_V3_RouteAction, _ retryPolicy: Ref<fl_retry_policy>?
  ) -> fl_timeouts {
    unsafe fl_timeouts(
      // A bound on the whole stream takes the place of a bound on the response, as in Envoy.
      route_ms: action.hasMaxStreamDuration
        ? 0
        : action.hasTimeout
          ? action.timeout.milliseconds : Defaults.routeTimeout.wholeMilliseconds,
      per_try_ms: retryPolicy.map { unsafe $0.value.per_try_timeout_ms } ?? 0,
      per_try_idle_ms: unsafe retryPolicy.map { unsafe $0.value.per_try_idle_timeout_ms } ?? 0,
      respect_expected_timeout: context.options.respectsExpectedTimeout,
      suppress_envoy_headers: context.options.suppressesEnvoyHeaders)
  }

  private func duration(
    _ message: Envoy_Config_Route_V3_RouteAction.MaxStreamDuration
  ) -> MaxStreamDuration {
    MaxStreamDuration(
      milliseconds: message.hasMaxStreamDuration ? message.maxStreamDuration.milliseconds : nil,
      grpcTimeoutHeaderMax: message.hasGrpcTimeoutHeaderMax
        ? message.grpcTimeoutHeaderMax.milliseconds : nil,
      grpcTimeoutHeaderOffset: message.hasGrpcTimeoutHeaderOffset
        ? message.grpcTimeoutHeaderOffset.milliseconds : nil)
  }

  private static func mirrors(
    _ policies: [Envoy_Config_Route_V3_RouteAction.RequestMirrorPolicy], _ context: RouteCompiler
  ) -> Table<MirrorPolicy> {
    Table.configured(
      policies.map { policy in
        MirrorPolicy(
          target: policy.clusterHeader.isEmpty
            ? .cluster(context.cluster(policy.cluster)) : .header(.ofRequest(policy.clusterHeader)),
          appendsShadowSuffix: !policy.disableShadowHostSuffixAppend,
          hostRewrite: policy.hostRewriteLiteral.isEmpty
            ? nil : .configured(policy.hostRewriteLiteral),
          fraction: policy.hasRuntimeFraction
            ? RuntimeFraction(policy.runtimeFraction, runtime: context.options.runtime) : nil)
      })
  }

  private func internalRedirect(
    _ policy: Envoy_Config_Route_V3_InternalRedirectPolicy
  ) -> InternalRedirectPolicy {
    InternalRedirectPolicy(
      maxRedirects: policy.hasMaxInternalRedirects
        ? policy.maxInternalRedirects.value : UInt32(Defaults.internalRedirects),
      allowsCrossScheme: policy.allowCrossSchemeRedirect,
      copiedHeaders: policy.responseHeadersToCopy.map(HeaderName.init),
      statuses: policy.redirectResponseCodes.isEmpty ? [302] : policy.redirectResponseCodes)
  }

  // MARK: Answers of our own

  private func redirect(
    _ action: Envoy_Config_Route_V3_RedirectAction, at path: ConfigPath
  ) -> RedirectAction {
    let status: UInt16 =
      switch action.responseCode {
      case .movedPermanently, .UNRECOGNIZED: 301
      case .found: 302
      case .seeOther: 303
      case .temporaryRedirect: 307
      case .permanentRedirect: 308
      }
    let scheme =
      action.schemeRedirect.isEmpty ? (action.httpsRedirect ? "https" : "") : action.schemeRedirect
    var prefix = ""
    if case .prefixRewrite(let text)? = action.pathRewriteSpecifier { prefix = text }
    var regex: Envoy_Type_Matcher_V3_RegexMatchAndSubstitute?
    if case .regexRewrite(let rewrite)? = action.pathRewriteSpecifier { regex = rewrite }
    return RedirectAction(
      status: status, scheme: optional(scheme), host: optional(action.hostRedirect),
      port: action.portRedirect == 0 ? nil : .configured(":\(action.portRedirect)"),
      path: optional(action.pathRedirect),
      pathRewrite: pathRewrite(prefix: prefix, regex: regex, at: path),
      stripsQuery: action.stripQuery)
  }

  private func optional(_ text: String) -> Bytes? { text.isEmpty ? nil : .configured(text) }

  private func directResponse(
    _ action: Envoy_Config_Route_V3_DirectResponseAction, at path: ConfigPath
  ) -> DirectResponse? {
    let limit =
      configuration.hasMaxDirectResponseBodySizeBytes
      ? Int(configuration.maxDirectResponseBodySizeBytes.value)
      : Defaults.maxDirectResponseBodyBytes
    let body = path.field("body")
    guard let bytes = DataSourceReader.read(action.body, atMost: limit, at: body, diagnostics)
    else { return nil }
    let format =
      action.hasBodyFormat
      ? FormatCompiler(diagnostics).reply(action.bodyFormat, at: path.field("body_format")) : nil
    return DirectResponse(
      status: UInt16(clamping: action.status), body: .configured(bytes), format: format)
  }
}

extension RouteCompiler {
  /// A cluster by its name; whether there is one is for the configuration's check to say.
  func cluster(_ name: String) -> ClusterReference {
    ClusterReference(name: .configured(name), index: options.cluster(name))
  }
}
