import Engine
import Inspection
import ResourceModel
import Resources
import SwiftProtobuf
import Upstream

/// Compiles a listener's filters.
struct ListenerFilterCompiler {
  private typealias TLSMessage = Envoy_Extensions_Filters_Listener_TlsInspector_V3_TlsInspector
  private typealias ProxyMessage =
    Envoy_Extensions_Filters_Listener_ProxyProtocol_V3_ProxyProtocol

  let context: CompileContext

  /// - Parameter path: the listener's.
  func compile(
    _ listener: Envoy_Config_Listener_V3_Listener, at path: ConfigPath
  ) -> [ListenerFilter] {
    var filters = listener.listenerFilters.compactMap(compile)
    if listener.useOriginalDst.value, !filters.contains(where: \.needsNoBytes) {
      filters.append(.originalDestination)
    }
    warnOfBlindness(listener, filters, at: path)
    return filters
  }

  /// Chains may ask for what only an inspector sees: legal in Envoy, but they take nothing.
  private func warnOfBlindness(
    _ listener: Envoy_Config_Listener_V3_Listener, _ filters: [ListenerFilter],
    at path: ConfigPath
  ) {
    let inspectsTLS = filters.contains { if case .tls = $0 { true } else { false } }
    guard !inspectsTLS else { return }
    for (index, chain) in listener.filterChains.enumerated()
    where chain.filterChainMatch.needsTLSInspector {
      context.diagnostics.warning(
        at: path.field("filter_chains").index(index).field("filter_chain_match"),
        "takes no connection: without the listener filter tls_inspector, nobody sees a server's name"
      )
    }
  }

  private func compile(_ filter: Envoy_Config_Listener_V3_ListenerFilter) -> ListenerFilter? {
    let prefix = "envoy.extensions.filters.listener."
    let config = filter.typedConfig
    switch FilterRegistry.typeName(of: config.typeURL) {
    case prefix + "tls_inspector.v3.TlsInspector":
      return (try? TLSMessage(serializedBytes: config.value)).map(tlsInspector)
    case prefix + "http_inspector.v3.HttpInspector":
      return .http(.configured(ListenerFilter.HTTPInspector(in: context.store)))
    case prefix + "original_dst.v3.OriginalDst": return .originalDestination
    case prefix + "proxy_protocol.v3.ProxyProtocol":
      return (try? ProxyMessage(serializedBytes: config.value)).map(proxyProtocol)
    default: return nil
    }
  }

  private func tlsInspector(_ message: TLSMessage) -> ListenerFilter {
    .tls(
      .configured(
        ListenerFilter.TLSInspector(
          maxHelloBytes: message.hasMaxClientHelloSize
            ? Int(message.maxClientHelloSize.value) : Defaults.clientHelloBytes,
          closesOnError: message.closeConnectionOnClientHelloParsingErrors,
          stats: .init(in: context.store))))
  }

  private func proxyProtocol(_ message: ProxyMessage) -> ListenerFilter {
    .proxyProtocol(
      .configured(
        ListenerFilter.ProxyProtocol(
          allowsAbsence: message.allowRequestsWithoutProxyProtocol,
          allowsV1: !message.disallowedVersions.contains(.v1),
          allowsV2: !message.disallowedVersions.contains(.v2),
          passed: message.hasPassThroughTlvs
            ? ProxyTLVTypes(message.passThroughTlvs) : ProxyTLVTypes(),
          rules: .configured(rules(message.rules)),
          stats: .init(prefix: message.statPrefix, in: context.store))))
  }

  /// Of several rules for one type, the last counts (as in Envoy).
  private func rules(_ messages: [ProxyMessage.Rule]) -> [ProxyTLVRule] {
    var rules: [UInt32: ProxyTLVRule] = [:]
    for message in messages {
      let names = message.onTlvPresent
      rules[message.tlvType] =
        message.hasOnTlvPresent
        ? ProxyTLVRule(
          type: UInt8(truncatingIfNeeded: message.tlvType),
          space: .configured(
            names.metadataNamespace.isEmpty
              ? "envoy.filters.listener.proxy_protocol" : names.metadataNamespace),
          key: .configured(names.key)) : nil
    }
    return Array(rules.values)
  }
}

extension Envoy_Config_Listener_V3_FilterChainMatch {
  /// It asks for something that only a TLS client's first message tells.
  fileprivate var needsTLSInspector: Bool { transportProtocol == "tls" || !serverNames.isEmpty }
}
