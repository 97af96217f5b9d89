import MeshMessages
import MeshModel
import Resources

/// What is wrong with the times, retries, faults and origins of an HTTP route.
struct HTTPPolicyCheck {
  let check: FieldCheck

  func check(_ route: HTTPRoute, _ path: ConfigPath) {
    if route.hasTimeout { check.duration(route.timeout, path["timeout"], takesZero: true) }
    if route.hasRetries { checkRetries(route.retries, path["retries"]) }
    if route.hasFault { checkFault(route.fault, path["fault"]) }
    if route.hasCorsPolicy { checkCORS(route.corsPolicy, path["corsPolicy"]) }
  }

  // MARK: Retries

  /// Envoy's words for what is tried again, for requests and for calls of gRPC.
  private static let conditions: Set<String> = [
    "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited",
    "retriable-4xx", "refused-stream", "retriable-status-codes", "retriable-headers",
    "http3-post-connect-failure", "cancelled", "deadline-exceeded", "internal",
    "resource-exhausted", "unavailable",
  ]

  func checkRetries(_ retries: Istio_Networking_V1alpha3_HTTPRetry, _ path: ConfigPath) {
    check.atLeastZero(retries.attempts, path["attempts"])
    if retries.attempts == 0,
      retries.hasPerTryTimeout || !retries.retryOn.isEmpty || retries.hasRetryRemoteLocalities
        || retries.hasBackoff
    {
      check.error(
        path, "with 0 attempts nothing is tried again: say how many 'attempts', or nothing else")
    }
    if retries.hasPerTryTimeout {
      check.duration(retries.perTryTimeout, path["perTryTimeout"], takesZero: true)
    }
    if retries.hasBackoff { check.duration(retries.backoff, path["backoff"]) }
    for word in retries.retryOn.split(separator: ",") {
      let word = word.filter { $0 != " " }
      let isCode = UInt32(word).map { (100...599).contains($0) } ?? false
      if !isCode, !Self.conditions.contains(word) {
        check.error(
          path["retryOn"],
          "'\(word)' is no condition to retry on"
            + Suggestion.phrase(for: word, among: Self.conditions))
      }
    }
  }

  // MARK: Faults

  private static let grpcStatuses: Set<String> = [
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
  ]

  private func checkFault(
    _ fault: Istio_Networking_V1alpha3_HTTPFaultInjection, _ path: ConfigPath
  ) {
    if !fault.hasAbort, !fault.hasDelay {
      check.error(path, "a fault is an 'abort', a 'delay' or both: write one")
    }
    if fault.hasAbort { checkAbort(fault.abort, path["abort"]) }
    guard fault.hasDelay else { return }
    let place = path["delay"]
    check.percentage(fault.delay.percentage.value, place["percentage"]["value"])
    check.percent(fault.delay.percent, place["percent"])
    switch fault.delay.httpDelayType {
    case .fixedDelay(let time): check.duration(time, place["fixedDelay"])
    case .exponentialDelay:
      check.error(place["exponentialDelay"], "no proxy delays so: use 'fixedDelay'")
    case nil: check.error(place, "a delay has a 'fixedDelay': say how long")
    }
  }

  private func checkAbort(
    _ abort: Istio_Networking_V1alpha3_HTTPFaultInjection.Abort, _ path: ConfigPath
  ) {
    check.percentage(abort.percentage.value, path["percentage"]["value"])
    switch abort.errorType {
    case .httpStatus(let status):
      if !(200...599).contains(status) {
        check.error(path["httpStatus"], "a status is from 200 to 599, not \(status)")
      }
    case .grpcStatus(let status):
      if !Self.grpcStatuses.contains(status.uppercased()),
        Int(status).map({ !(0...16).contains($0) }) ?? true
      {
        check.error(
          path["grpcStatus"],
          "'\(status)' is no status of gRPC"
            + Suggestion.phrase(for: status, among: Self.grpcStatuses))
      }
    case .http2Error:
      check.error(path["http2Error"], "no proxy answers so: use 'httpStatus' or 'grpcStatus'")
    case nil:
      check.error(path, "an abort has an 'httpStatus' or a 'grpcStatus': say what is answered")
    }
  }

  // MARK: Origins

  private static let methods: Set<String> = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*",
  ]

  private func checkCORS(_ policy: Istio_Networking_V1alpha3_CorsPolicy, _ path: ConfigPath) {
    for (index, origin) in policy.allowOrigins.enumerated() {
      check.match(origin, path["allowOrigins"][index])
    }
    if !policy.allowOrigin.isEmpty {
      check.warning(path["allowOrigin"], "deprecated: use 'allowOrigins'")
    }
    for (index, method) in policy.allowMethods.enumerated() where !Self.methods.contains(method) {
      check.error(
        path["allowMethods"][index],
        "'\(method)' is no method" + Suggestion.phrase(for: method, among: Self.methods))
    }
    for (field, names) in [
      ("allowHeaders", policy.allowHeaders), ("exposeHeaders", policy.exposeHeaders),
    ] {
      for (index, name) in names.enumerated() where name != "*" {
        check.header(name, path[field][index])
      }
    }
    guard policy.hasMaxAge else { return }
    if policy.maxAge.seconds < 0 || policy.maxAge.nanos != 0 {
      check.error(path["maxAge"], "a time in whole seconds is expected")
    }
  }
}
