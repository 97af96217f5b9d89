import FilterSDK

/// The table for `envoy.extensions.filters.http.health_check.v3.HealthCheck`.
public let healthCheckFilter = FilterTable(HealthCheckFilter.self)

/// Answers health checks in the application's place: always, from a cache, from the health of
/// clusters, or only when an operator has asked the proxy to fail them.
///
/// Withstands an untrusted downstream, which learns no more than whether the proxy is healthy, and
/// an untrusted upstream.
public struct HealthCheckFilter: RequestHeadFilter, ResponseHeadFilter {
  /// The request is a health check.
  private var isHealthCheck = false
  /// It is answered here.
  private var isAnswering = false

  public init(config: borrowing Config) {}

  public mutating func onRequestHead(
    _ head: borrowing RequestHeadView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    if let headers = config.headers, !head.matches(headers) { return .continue }
    isHealthCheck = true
    context.markHealthCheck()
    isAnswering = context.isFailingHealthChecks
    if !config.passesThrough { isAnswering = true }
    if let cache = config.cache, cache.answer(now: context.monotonicNanoseconds) != nil {
      isAnswering = true
    }
    // A body, should there be one, says nothing that the answer depends on.
    return isAnswering ? answer(config, context) : .continue
  }

  public mutating func onResponseHead(
    _ head: borrowing ResponseHeadView, config: borrowing Config, _ context: borrowing StreamContext
  ) -> Verdict {
    if isHealthCheck {
      if !isAnswering, let cache = config.cache {
        let answer = AnswerCache.Answer(
          status: head.status, isDegraded: head["x-envoy-degraded"] != nil)
        cache.keep(answer, now: context.monotonicNanoseconds)
      }
      // Who asks can tell from it that it reached another cluster than it meant to.
      head["x-envoy-upstream-healthchecked-cluster"] = context.text(.nodeCluster) ?? ""
    } else if context.isFailingHealthChecks {
      // Callers need not wait for their next health check to stay away.
      head["x-envoy-immediate-health-check-fail"] = "true"
    }
    return .continue
  }
}

// MARK: the answer

extension HealthCheckFilter {
  private struct Answer {
    var status: UInt32 = 200
    var isDegraded = false
    var details: ByteView
  }

  private func answer(_ config: borrowing Config, _ context: borrowing StreamContext) -> Verdict {
    let answer = decide(config, context)
    let isOK = (200...299).contains(answer.status)
    context.add(to: config.statistics.requestTotal)
    context.add(to: isOK ? config.statistics.ok : config.statistics.failed)
    if answer.isDegraded { context.add(to: config.statistics.degraded) }
    if !isOK { context.set(.failedHealthCheck) }
    var fields: [Field] = answer.isDegraded ? [Field("x-envoy-degraded", "")] : []
    if context.isFailingHealthChecks {
      fields.append(Field("x-envoy-immediate-health-check-fail", "true"))
    }
    return context.reply(status: answer.status, details: answer.details, fields: fields)
  }

  private func decide(_ config: borrowing Config, _ context: borrowing StreamContext) -> Answer {
    if context.isFailingHealthChecks { return Answer(status: 503, details: "health_check_failed") }
    if let cached = config.cache?.answer(now: context.monotonicNanoseconds) {
      context.add(to: config.statistics.cachedResponse)
      return Answer(
        status: UInt32(clamping: cached.status), isDegraded: cached.isDegraded,
        details: "health_check_cached")
    }
    var answer = Answer(details: "health_check_ok")
    for index in 0..<config.clusters.count {
      answer = decide(config.clusters[index], config, context)
      guard answer.status == 200 else { break }
    }
    return answer
  }

  private func decide(
    _ needed: NeededHealth, _ config: borrowing Config, _ context: borrowing StreamContext
  ) -> Answer {
    guard let health = context.health(ofCluster: needed.cluster) else {
      context.add(to: config.statistics.clusterNotFound)
      return Answer(status: 503, details: "health_check_failed_no_cluster_found")
    }
    let total = UInt64(health.total)
    if total == 0, needed.percent > 0 {
      context.add(to: config.statistics.clusterEmpty)
      return Answer(status: 503, details: "health_check_failed_cluster_empty")
    }
    guard 100 * (UInt64(health.healthy) + UInt64(health.degraded)) >= total * needed.percent else {
      context.add(to: config.statistics.clusterUnhealthy)
      return Answer(status: 503, details: "health_check_failed_cluster_unhealthy")
    }
    return Answer(details: "health_check_ok_cluster_healthy")
  }
}
