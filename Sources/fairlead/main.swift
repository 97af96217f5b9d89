import ArgumentParser
import BufferFilter
import CLinux
import DataPlane
import FaultInjection
import FilterSDK
import GRPCStats
import GRPCWeb
import HeaderMutation
import HealthCheck
import LocalRateLimit
import MTLS
import RBAC
import Resources
import Retry
import Telemetry
import Timeout

/// The built-in filters, by the type of their configuration.
func builtInFilters() -> FilterRegistry {
  var registry = FilterRegistry()
  let envoy = "envoy.extensions.filters.http."
  unsafe registry.register("fairlead.filters.http.timeout.v1.Timeout", timeoutFilter.exported)
  unsafe registry.register("fairlead.filters.http.retry.v1.Retry", retryFilter.exported)
  unsafe registry.register(envoy + "fault.v3.HTTPFault", faultInjectionFilter.exported)
  unsafe registry.register(
    envoy + "local_ratelimit.v3.LocalRateLimit", localRateLimitFilter.exported)
  unsafe registry.register(
    envoy + "header_mutation.v3.HeaderMutation", headerMutationFilter.exported)
  unsafe registry.register(envoy + "grpc_stats.v3.FilterConfig", grpcStatsFilter.exported)
  unsafe registry.register(envoy + "grpc_web.v3.GrpcWeb", grpcWebFilter.exported)
  unsafe registry.register(envoy + "health_check.v3.HealthCheck", healthCheckFilter.exported)
  unsafe registry.register(envoy + "buffer.v3.Buffer", bufferFilter.exported)
  unsafe registry.register("fairlead.filters.http.mtls.v1.MTLS", mtlsFilter.exported)
  unsafe registry.register(envoy + "rbac.v3.RBAC", rbacFilter.exported)
  return registry
}

Fairlead.main()
