import MeshMessages
import MeshModel
import ResourceModel

/// Which listeners, filter chains and filters a patch means.
struct ListenerMatching {
  typealias Listener = Envoy_Config_Listener_V3_Listener
  typealias Chain = Envoy_Config_Listener_V3_FilterChain

  let patch: EnvoyPatch

  private var match: EnvoyFilter.ListenerMatch? { patch.listener }

  /// Listeners to which connections are redirected, whatever their port was: it stands in the conditions of
  /// their chains.
  private static func isVirtual(_ listener: Listener) -> Bool {
    listener.name == "virtualInbound" || listener.name == "virtualOutbound"
  }

  func matches(_ listener: Listener) -> Bool {
    guard let match else { return true }
    if !match.name.isEmpty, match.name != listener.name { return false }
    if patch.applyTo != .listener, Self.isVirtual(listener) { return true }
    guard match.portNumber != 0 else { return true }
    return listener.address.socketAddress.portValue == match.portNumber
  }

  func matches(_ chain: Chain, of listener: Listener) -> Bool {
    guard let match else { return true }
    let condition = chain.filterChainMatch
    if Self.isVirtual(listener), match.portNumber > 0,
      condition.destinationPort.value != match.portNumber
    {
      return false
    }
    guard match.hasFilterChain else { return true }
    let wanted = match.filterChain
    if !wanted.name.isEmpty, wanted.name != chain.name { return false }
    if !wanted.sni.isEmpty, !condition.serverNames.contains(wanted.sni) { return false }
    if !wanted.transportProtocol.isEmpty, condition.transportProtocol != wanted.transportProtocol {
      return false
    }
    let protocols = wanted.applicationProtocols.split(separator: ",").map(String.init)
    guard protocols.allSatisfy(condition.applicationProtocols.contains) else { return false }
    return wanted.destinationPort == 0
      || condition.destinationPort.value == wanted.destinationPort
  }

  // MARK: Filters

  /// The name of the filter in front of listeners that is meant; nil for any.
  var listenerFilter: String? {
    guard let name = match?.listenerFilter, !name.isEmpty else { return nil }
    return name
  }

  /// The name of the network filter that is meant; nil for any.
  var networkFilter: String? {
    guard let match, match.hasFilterChain, match.filterChain.hasFilter else { return nil }
    return match.filterChain.filter.name
  }

  /// The name of the HTTP filter that is meant; nil for any.
  var httpFilter: String? {
    guard networkFilter != nil, let filter = match?.filterChain.filter, filter.hasSubFilter else {
      return nil
    }
    return filter.subFilter.name
  }

  static func matches(_ wanted: String?, _ name: String) -> Bool { wanted == nil || wanted == name }
}
