import MeshMessages
import ResourceModel
import SwiftProtobuf

/// How often, and when, a request is tried again.
enum RetryPolicies {
  typealias Policy = Envoy_Config_Route_V3_RetryPolicy

  /// What Istio does where nobody says anything: twice, when no endpoint has begun to work on it.
  private static let standard = Policy.with {
    $0.numRetries = .init(2)
    $0.retryOn = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
    $0.retriableStatusCodes = [503]
    $0.retryHostPredicate = [previousHosts]
    $0.hostSelectionRetryMaxAttempts = 5
  }

  private static let previousHosts = Policy.RetryHostPredicate.with {
    $0.name = "envoy.retry_host_predicates.previous_hosts"
    $0.typedConfig =
      Envoy_Extensions_Retry_Host_PreviousHosts_V3_PreviousHostsPredicate().packed
  }

  /// The policy of a route; nil when nothing is tried again.
  /// - Parameter standard: the mesh's, where the route has none.
  static func policy(
    _ http: Istio_Networking_V1alpha3_HTTPRoute,
    default mesh: Istio_Networking_V1alpha3_HTTPRetry?
  ) -> Policy? {
    guard http.hasRetries else { return mesh.map { policy($0) } ?? standard }
    return policy(http.retries)
  }

  /// The policy of a route that no rule made.
  static func policy(default mesh: Istio_Networking_V1alpha3_HTTPRetry?) -> Policy? {
    mesh.map { policy($0) } ?? standard
  }

  private static func policy(_ retry: Istio_Networking_V1alpha3_HTTPRetry) -> Policy? {
    guard let attempts = UInt32(exactly: retry.attempts), attempts > 0 else { return nil }
    var policy = standard
    policy.numRetries = .init(attempts)
    if !retry.retryOn.isEmpty {
      policy.retriableStatusCodes = []
      var words: [String] = []
      for word in retry.retryOn.split(separator: ",").map({ $0.filter { $0 != " " } }) {
        if let code = UInt32(word) {
          policy.retriableStatusCodes.append(code)
        } else {
          words.append(word)
        }
      }
      if !policy.retriableStatusCodes.isEmpty, !words.contains("retriable-status-codes") {
        words.append("retriable-status-codes")
      }
      policy.retryOn = words.joined(separator: ",")
    }
    if retry.hasPerTryTimeout { policy.perTryTimeout = retry.perTryTimeout }
    if retry.hasBackoff { policy.retryBackOff = .with { $0.baseInterval = retry.backoff } }
    if retry.hasRetryIgnorePreviousHosts, !retry.retryIgnorePreviousHosts.value {
      return withoutPredicate(policy)
    }
    return policy
  }

  /// The same where another endpoint would be the wrong one.
  static func withoutPredicate(_ policy: Policy) -> Policy {
    var policy = policy
    policy.retryHostPredicate = []
    policy.hostSelectionRetryMaxAttempts = 0
    return policy
  }
}
