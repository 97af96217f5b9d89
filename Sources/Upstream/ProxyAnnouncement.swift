import Engine
import Inspection

/// What a connection to an endpoint says first, by the PROXY protocol: for whom it is.
package struct ProxyAnnouncement: BitwiseCopyable {
  package let version: ProxyHeader.Version
  /// What a proxy in front of us told is told on, unless we tell something else of that type.
  package let passed: ProxyTLVTypes
  /// What is always told: TLVs as they are on the wire.
  package let added: Bytes
  private let addedTypes: ProxyTLVTypes

  /// - Parameter added: whole TLVs that last as long as the cluster.
  package init(version: ProxyHeader.Version, passed: ProxyTLVTypes, added: Bytes) {
    self.version = version
    self.passed = passed
    self.added = added
    var types = ProxyTLVTypes()
    for tlv in ProxyTLVs(added) { types.insert(tlv.type) }
    addedTypes = types
  }

  /// Calls `body` with each TLV that is told and fits into `room` bytes, in order; what does not fit is
  /// left out, and what follows may fit again (as in Envoy). False when something was left out.
  /// - Parameter told: whole TLVs of a proxy in front of us.
  package func forEachTLV(of told: Bytes, room: Int, _ body: (ProxyTLV) -> Void) -> Bool {
    var left = room
    var hasAll = true
    func tell(_ tlv: ProxyTLV) {
      guard tlv.whole.count <= left else {
        hasAll = false
        return
      }
      left -= tlv.whole.count
      body(tlv)
    }
    for tlv in ProxyTLVs(added) { tell(tlv) }
    guard !passed.isEmpty else { return hasAll }
    for tlv in ProxyTLVs(told) where passed.contains(tlv.type) && !addedTypes.contains(tlv.type) {
      tell(tlv)
    }
    return hasAll
  }
}
