import MeshMessages
import MeshModel
import MeshTranslation
import Resources

/// What is wrong with a Telemetry, by Istio's rules.
struct TelemetryCheck {
  let check: FieldCheck

  func check(_ rule: Telemetry, _ path: ConfigPath) {
    check.selector(rule.hasSelector ? rule.selector.matchLabels : nil, path["selector"])
    if rule.hasSelector, rule.hasTargetRef || !rule.targetRefs.isEmpty {
      check.error(path["selector"], "a Telemetry has a 'selector' or 'targetRefs': remove one")
    }
    for (index, entry) in rule.accessLogging.enumerated() {
      let place = path["accessLogging"][index]
      checkProviders(entry.providers, place)
      if entry.hasFilter { checkExpression(entry.filter.expression, place["filter"]["expression"]) }
    }
    checkTracing(rule.tracing, path["tracing"])
    for (index, metrics) in rule.metrics.enumerated() {
      checkMetrics(metrics, path["metrics"][index])
    }
  }

  private func checkProviders(
    _ providers: [Istio_Telemetry_V1alpha1_ProviderRef], _ path: ConfigPath
  ) {
    for (index, provider) in providers.enumerated() where provider.name.isEmpty {
      check.error(path["providers"][index], "a provider has a 'name'")
    }
  }

  private func checkExpression(_ text: String, _ path: ConfigPath) {
    do throws(LogExpression.Mistake) {
      for pattern in try LogExpression(text).patterns {
        if let mistake = Expression.mistake(in: pattern) {
          check.error(path, "RE2 does not take '\(pattern)': \(mistake)")
        }
      }
    } catch {
      check.error(path, "no expression that Envoy would take: \(error.message)")
    }
  }

  private func checkTracing(_ tracing: [Istio_Telemetry_V1alpha1_Tracing], _ path: ConfigPath) {
    if tracing.count > 1 { check.warning(path[1], "of several the last counts, field by field") }
    for (index, entry) in tracing.enumerated() {
      let place = path[index]
      if entry.providers.count > 1 {
        check.warning(place["providers"][1], "of several providers the first counts")
      }
      checkProviders(entry.providers, place)
      let share = entry.randomSamplingPercentage.value
      if !(0...100).contains(share) {
        check.error(
          place["randomSamplingPercentage"], "a percentage is from 0 to 100, not \(share)")
      }
      for (name, tag) in entry.customTags.sorted(by: { $0.key < $1.key }) {
        let place = place["customTags"].key(name)
        if name.isEmpty { check.error(place, "a tag has a name") }
        switch tag.type {
        case .literal(let text):
          if text.value.isEmpty { check.error(place["literal"], "a tag has a 'value'") }
        case .header(let header):
          if header.name.isEmpty { check.error(place["header"], "says which header: 'name'") }
        case .environment(let variable):
          if variable.name.isEmpty {
            check.error(place["environment"], "says which variable: 'name'")
          }
        case .formatter, nil: break
        }
      }
    }
  }

  private func checkMetrics(_ metrics: Istio_Telemetry_V1alpha1_Metrics, _ path: ConfigPath) {
    checkProviders(metrics.providers, path)
    for (index, change) in metrics.overrides.enumerated() {
      let place = path["overrides"][index]
      if case .customMetric(let name)? = change.match.metricMatch, name.isEmpty {
        check.error(place["match"]["customMetric"], "a metric has a name")
      }
      for (name, tag) in change.tagOverrides.sorted(by: { $0.key < $1.key }) {
        let place = place["tagOverrides"].key(name)
        if name.isEmpty { check.warning(place, "a tag has a name") }
        if tag.operation == .upsert, tag.value.isEmpty {
          check.error(place, "UPSERT has a 'value': write it, or 'operation: REMOVE'")
        }
        if tag.operation == .remove, !tag.value.isEmpty {
          check.error(place["value"], "is for 'operation: UPSERT' alone: remove it")
        }
      }
    }
  }
}

/// What is wrong with a ProxyConfig, by Istio's rules.
struct ProxyConfigCheck {
  let check: FieldCheck

  func check(_ config: ProxyConfig, _ path: ConfigPath) {
    check.selector(config.hasSelector ? config.selector.matchLabels : nil, path["selector"])
    check.atLeastZero(config.concurrency.value, path["concurrency"])
    for name in config.environmentVariables.keys.sorted()
    where name.isEmpty || name.contains("=") || name.contains("\0") {
      check.error(
        path["environmentVariables"].key(name), "'\(name)' is no name of a variable")
    }
  }
}

/// What is wrong with the providers that MeshConfig defines, and with how its logs look.
struct ProviderCheck {
  let check: FieldCheck

  func check(_ config: MeshConfig, _ path: ConfigPath) {
    var names: Set<String> = []
    for (index, provider) in config.extensionProviders.enumerated() {
      let place = path["extensionProviders"][index]
      if provider.name.isEmpty {
        check.error(place, "a provider has a 'name'")
      } else if !names.insert(provider.name).inserted {
        check.error(place["name"], "'\(provider.name)' is there already: remove one")
      }
      guard let kind = provider.provider else {
        check.error(place, "says nothing of what it provides: 'envoyFileAccessLog' is one kind")
        continue
      }
      if case .envoyFileAccessLog(let file) = kind {
        checkFormat(file.logFormat, place["envoyFileAccessLog"]["logFormat"])
      }
    }
    checkFormat(of: config, path["accessLogFormat"])
    checkDefaults(config, path)
  }

  private func checkFormat(_ format: AccessLogFormat.File.LogFormat, _ path: ConfigPath) {
    switch format.logFormat {
    case .text(let text):
      if let mistake = AccessLogFormat.mistake(text) { check.error(path["text"], mistake) }
    case .labels(let labels):
      if let mistake = AccessLogFormat.mistake(labels) { check.error(path["labels"], mistake) }
    case nil: break
    }
  }

  private func checkFormat(of config: MeshConfig, _ path: ConfigPath) {
    let format = config.accessLogFormat
    guard !format.isEmpty else { return }
    let mistake =
      config.accessLogEncoding == .json
      ? AccessLogFormat.mistakeOfJSON(format) : AccessLogFormat.mistake(format)
    if let mistake { check.error(path, mistake) }
  }

  private func checkDefaults(_ config: MeshConfig, _ path: ConfigPath) {
    let place = path["defaultProviders"]
    let settings = MeshSettings(config)
    for (index, name) in config.defaultProviders.accessLogging.enumerated()
    where !settings.hasProvider(name) {
      let known = [MeshSettings.builtInProvider] + config.extensionProviders.map(\.name)
      check.error(
        place["accessLogging"][index],
        "there is no provider '\(name)'" + Suggestion.phrase(for: name, among: known))
    }
    var named: Set<String> = []
    for (index, name) in config.defaultProviders.accessLogging.enumerated()
    where !named.insert(name.lowercased()).inserted {
      check.warning(place["accessLogging"][index], "'\(name)' is named before; it writes once")
    }
    if !config.defaultProviders.tracing.isEmpty {
      check.warning(place["tracing"], "no effect: no spans are made")
    }
    for (index, name) in config.defaultProviders.metrics.enumerated() where name != "prometheus" {
      check.warning(
        place["metrics"][index], "no effect: each proxy tells its statistics for Prometheus itself")
    }
    check.atLeastZero(config.defaultConfig.concurrency.value, path["defaultConfig"]["concurrency"])
    if config.defaultConfig.hasMore {
      check.warning(
        path["defaultConfig"],
        "of this, 'concurrency' and 'proxyMetadata' have an effect, with 'fairleadctl up'")
    }
  }
}
