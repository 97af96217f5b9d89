import CFilterABI
import Engine
import HTTPModel
import Routing

/// The functions of the filter door that compile rules of access, and ask them about a request.
enum FilterAccess {
  static func fill(_ host: inout fl_host) {
    unsafe host.access_policy = { raw, index, out in
      guard let rules = unsafe FilterAccess.rules(raw), let out = unsafe out, index >= 0,
        index < rules.value.count
      else { return false }
      unsafe out.pointee = rules.value.name(of: index).abi
      return true
    }
    unsafe host.access_match = { raw, rules in
      guard let stream = unsafe FilterHost.stream(raw),
        let rules = unsafe FilterAccess.rules(rules),
        let found = rules.value.match(RequestAccess(stream: stream))
      else { return Int(bitPattern: UInt.max) }
      return found
    }
  }

  /// SAFETY: filters give back what `load_access_rules` gave them.
  private static func rules(_ raw: UnsafeRawPointer?) -> Ref<AccessRules>? {
    guard let raw = unsafe raw else { return nil }
    return unsafe Ref<AccessRules>(raw: UnsafeMutableRawPointer(mutating: raw))
  }
}

/// A request, as rules of access ask about it.
struct RequestAccess: AccessSubject {
  let stream: Ref<RequestStream>

  func address(_ which: AccessAddress) -> SocketAddress {
    if which == .remote { return stream.clientAddress }
    guard let downstream = stream.value.downstream else { return SocketAddress() }
    return switch which {
    case .destination: downstream.value.local
    case .directRemote: downstream.value.directRemote
    case .source, .remote: downstream.value.remote
    }
  }

  var isSecured: Bool { stream.value.downstream?.value.secured != nil }

  func peerName(_ kind: AccessName, _ index: Int) -> Bytes? {
    stream.peerName(kind.abi, index)
  }

  func fitsServerName(_ matcher: StringMatcher) -> Bool {
    stream.value.downstream?.fitsServerName(matcher) ?? matcher.matches(.empty)
  }

  func fits(_ matcher: HeaderMatcher) -> Bool { matcher.matches(stream.value.requestHead) }
  var path: Bytes? { stream.value.requestHead[.path] }
  func metadata(_ space: Bytes, _ key: Bytes) -> MetadataValue? {
    stream.value.metadata.value(space, key)
  }
}

extension AccessName {
  var abi: fl_peer_name {
    switch self {
    case .uri: FL_PEER_URI
    case .dns: FL_PEER_DNS
    case .subject: FL_PEER_SUBJECT
    }
  }
}
