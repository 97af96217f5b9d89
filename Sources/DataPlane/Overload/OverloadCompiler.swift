import ResourceModel
import Resources
import SwiftProtobuf

/// Reads `overload_manager`.
struct OverloadCompiler {
  private typealias Heap = Envoy_Extensions_ResourceMonitors_FixedHeap_V3_FixedHeapConfig
  private typealias Connections =
    Envoy_Extensions_ResourceMonitors_DownstreamConnections_V3_DownstreamConnectionsConfig

  let diagnostics: Diagnostics
  let layers: RuntimeLayers

  /// The name under which connections are limited, and the older runtime key for the same.
  private static let connections = "envoy.resource_monitors.global_downstream_max_connections"
  private static let connectionsKey = "overload.global_downstream_max_connections"

  func compile(_ message: Envoy_Config_Overload_V3_OverloadManager) -> OverloadConfig {
    let path = ConfigPath.root.field("overload_manager")
    var config = OverloadConfig()
    if message.hasRefreshInterval {
      config.refreshInterval = max(1, message.refreshInterval.milliseconds)
    }
    if let number = layers.numbers[Self.connectionsKey], number >= 0 {
      config.connectionLimit = UInt64(min(number, 1e18))
    }
    var names: Set<String> = []
    for (index, monitor) in message.resourceMonitors.enumerated() {
      let place = path.field("resource_monitors").index(index)
      guard names.insert(monitor.name).inserted else {
        diagnostics.error(
          at: place.field("name"), "there is already a resource monitor '\(monitor.name)'")
        continue
      }
      add(monitor, to: &config, at: place)
    }
    var actions: Set<String> = []
    for (index, action) in message.actions.enumerated() {
      let place = path.field("actions").index(index)
      guard actions.insert(action.name).inserted else {
        diagnostics.error(
          at: place.field("name"), "there is already an overload action '\(action.name)'")
        continue
      }
      if let rule = rule(action, of: config, at: place) { config.rules.append(rule) }
    }
    return config
  }

  private func add(
    _ monitor: Envoy_Config_Overload_V3_ResourceMonitor, to config: inout OverloadConfig,
    at path: ConfigPath
  ) {
    guard case .typedConfig(let any)? = monitor.configType else {
      return diagnostics.error(at: path.field("typed_config"), "missing")
    }
    if let heap = try? Heap(unpackingAny: any) {
      config.monitors.append(.init(name: monitor.name, maxBytes: heap.maxHeapSizeBytes))
    } else if let connections = try? Connections(unpackingAny: any) {
      guard monitor.name == Self.connections else {
        return diagnostics.error(at: path.field("name"), "expected '\(Self.connections)'")
      }
      config.connectionLimit = UInt64(clamping: connections.maxActiveDownstreamConnections)
    }
  }

  private func rule(
    _ message: Envoy_Config_Overload_V3_OverloadAction, of config: OverloadConfig,
    at path: ConfigPath
  ) -> OverloadConfig.Rule? {
    guard let action = OverloadAction(rawValue: message.name) else {
      let known = OverloadAction.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")
      diagnostics.error(
        at: path.field("name"), "no such action here: '\(message.name)'; expected one of \(known)")
      return nil
    }
    var triggers: [(monitor: Int, trigger: PressureTrigger)] = []
    for (index, trigger) in message.triggers.enumerated() {
      let place = path.field("triggers").index(index)
      guard let monitor = config.monitors.firstIndex(where: { $0.name == trigger.name }) else {
        diagnostics.error(
          at: place.field("name"),
          trigger.name == Self.connections
            ? "'\(trigger.name)' limits by itself, and triggers nothing"
            : "unknown resource monitor '\(trigger.name)'")
        return nil
      }
      guard let compiled = self.trigger(trigger, at: place) else { return nil }
      triggers.append((monitor, compiled))
    }
    return OverloadConfig.Rule(action: action, triggers: triggers)
  }

  private func trigger(
    _ message: Envoy_Config_Overload_V3_Trigger, at path: ConfigPath
  ) -> PressureTrigger? {
    switch message.triggerOneof {
    case .threshold(let threshold)?: return .threshold(threshold.value)
    case .scaled(let scaled)?:
      guard scaled.scalingThreshold < scaled.saturationThreshold else {
        diagnostics.error(
          at: path.field("scaled"), "scaling_threshold has to be below saturation_threshold")
        return nil
      }
      return .scaled(from: scaled.scalingThreshold, to: scaled.saturationThreshold)
    case nil:
      if !diagnostics.hasError(at: path) {
        diagnostics.error(at: path, "missing; expected threshold or scaled")
      }
      return nil
    }
  }
}
