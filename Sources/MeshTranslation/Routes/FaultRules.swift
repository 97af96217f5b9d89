import MeshMessages
import ResourceModel
import SwiftProtobuf

/// Faults that a VirtualService injects.
enum FaultRules {
  /// The fault filter's settings for one route.
  static func fault(
    _ rule: Istio_Networking_V1alpha3_HTTPFaultInjection
  ) -> Envoy_Extensions_Filters_Http_Fault_V3_HTTPFault {
    .with {
      if rule.hasDelay {
        $0.delay = .with {
          $0.fixedDelay = rule.delay.fixedDelay
          $0.percentage = share(
            rule.delay.hasPercentage ? rule.delay.percentage.value : nil, rule.delay.percent)
        }
      }
      if rule.hasAbort {
        $0.abort = .with {
          switch rule.abort.errorType {
          case .httpStatus(let status): $0.httpStatus = UInt32(clamping: status)
          case .grpcStatus(let status): $0.grpcStatus = GRPCStatusName.number(status) ?? 2
          case .http2Error, nil: break
          }
          $0.percentage = share(
            rule.abort.hasPercentage ? rule.abort.percentage.value : nil, 0)
        }
      }
    }
  }

  /// Without a share, all.
  private static func share(_ percent: Double?, _ old: Int32) -> Envoy_Type_V3_FractionalPercent {
    RouteActions.fraction(percent ?? (old > 0 ? Double(old) : 100))
  }
}

/// gRPC's status codes by their names (https://grpc.io/docs/guides/status-codes).
package enum GRPCStatusName {
  private static let names = [
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
  ]

  /// The number of a status; nil when there is none of that name.
  package static func number(_ name: String) -> UInt32? {
    names.firstIndex(of: name.uppercased()).map { UInt32($0) }
  }
}

/// Requests of pages from other origins.
enum CORSRules {
  /// The filter's settings for one route.
  static func policy(
    _ rule: Istio_Networking_V1alpha3_CorsPolicy
  ) -> Fairlead_Mesh_Envoy_V1_CorsPolicy {
    .with {
      var origins = RouteMatches.texts(rule.allowOrigins)
      origins += rule.allowOrigin.map { origin in
        origin == "*"
          ? .with { $0.safeRegex = .with { $0.regex = ".*" } } : .with { $0.exact = origin }
      }
      $0.allowOriginStringMatch = origins.compactMap { try? $0.serializedData() }
      $0.allowMethods = rule.allowMethods.joined(separator: ",")
      $0.allowHeaders = rule.allowHeaders.joined(separator: ",")
      $0.exposeHeaders = rule.exposeHeaders.joined(separator: ",")
      if rule.hasMaxAge { $0.maxAge = String(rule.maxAge.seconds) }
      if rule.hasAllowCredentials { $0.allowCredentials = rule.allowCredentials }
      $0.forwardNotMatchingPreflights = .init(rule.unmatchedPreflights != .ignore)
    }
  }
}
