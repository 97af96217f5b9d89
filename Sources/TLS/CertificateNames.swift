import COpenSSL

/// Whom a certificate names: its subject alternative names by kind. A name is bytes: what hides
/// behind a zero byte is part of it, and makes it another name.
package struct CertificateNames: Sendable, Equatable {
  package private(set) var dns: [[UInt8]] = []
  package private(set) var uris: [[UInt8]] = []
  package private(set) var emails: [[UInt8]] = []
  /// As text.
  package private(set) var addresses: [[UInt8]] = []
  /// The subject's common name; nil when it has none.
  package private(set) var commonName: [UInt8]?

  init(of certificate: OpaquePointer) {
    unsafe commonName = Self.commonName(of: certificate)
    guard let raw = unsafe X509_get_ext_d2i(certificate, NID_subject_alt_name, nil, nil) else {
      return
    }
    // SAFETY: for this extension OpenSSL returns a GENERAL_NAMES, which is ours to free.
    let names = OpaquePointer(raw)
    for index in 0..<(unsafe fl_tls_name_count(names)) {
      guard let name = unsafe fl_tls_name_at(names, index) else { continue }
      unsafe add(name)
    }
    unsafe GENERAL_NAMES_free(names)
  }

  private mutating func add(_ name: UnsafeMutablePointer<GENERAL_NAME>) {
    switch unsafe name.pointee.type {
    case GEN_DNS: unsafe dns.append(Self.bytes(name.pointee.d.dNSName))
    case GEN_URI: unsafe uris.append(Self.bytes(name.pointee.d.uniformResourceIdentifier))
    case GEN_EMAIL: unsafe emails.append(Self.bytes(name.pointee.d.rfc822Name))
    case GEN_IPADD:
      if let text = IPText.text(of: unsafe Self.bytes(name.pointee.d.iPAddress)) {
        addresses.append(text)
      }
    default: break
    }
  }

  private static func commonName(of certificate: OpaquePointer) -> [UInt8]? {
    guard let subject = unsafe X509_get_subject_name(certificate) else { return nil }
    let index = unsafe X509_NAME_get_index_by_NID(subject, NID_commonName, -1)
    guard index >= 0, let entry = unsafe X509_NAME_get_entry(subject, index),
      let data = unsafe X509_NAME_ENTRY_get_data(entry)
    else { return nil }
    return unsafe bytes(data)
  }

  static func bytes(_ text: UnsafePointer<ASN1_STRING>?) -> [UInt8] {
    guard let text = unsafe text, let base = unsafe ASN1_STRING_get0_data(text) else { return [] }
    let count = max(0, Int(unsafe ASN1_STRING_length(text)))
    return unsafe Array(UnsafeBufferPointer(start: base, count: count))
  }

  /// The names of a kind.
  package func all(_ kind: TLSNameMatcher.Kind) -> [[UInt8]] {
    switch kind {
    case .dns: dns
    case .uri: uris
    case .email: emails
    case .ip: addresses
    }
  }

  /// Whether one of the names, of whatever kind, is this one; as a DNS name it may be covered by a
  /// wildcard.
  private func carry(_ name: [UInt8]) -> Bool {
    dns.contains { DNSName.covers($0, name) } || uris.contains(name) || emails.contains(name)
      || addresses.contains(name)
  }

  /// Whether they are those of whom a client asked for, and carry what it requires.
  func answer(to asked: [UInt8]?, and required: [UInt8]) -> Bool {
    if let asked, !dns.contains(where: { DNSName.covers($0, asked) }) { return false }
    return required.isEmpty || carry(required)
  }

  /// Whether one of the names matches.
  package func match(_ matcher: TLSNameMatcher) -> Bool {
    all(matcher.kind).contains { name in
      if matcher.kind == .dns, let exact = matcher.exactName {
        return DNSName.covers(name, exact)
      }
      return matcher.matches(name)
    }
  }
}

/// Names as certificates write them.
enum DNSName {
  /// Whether `pattern`, a certificate's name, stands for `name`: the same, or a wildcard in its first
  /// label (RFC 6125 §6.4.3; as Envoy, a wildcard may be a part of the label).
  static func covers(_ pattern: [UInt8], _ name: [UInt8]) -> Bool {
    let pattern = lowercased(pattern)
    let name = lowercased(name)
    if pattern == name { return true }
    guard let patternDot = pattern.firstIndex(of: UInt8(ascii: ".")),
      let nameDot = name.firstIndex(of: UInt8(ascii: ".")),
      pattern[patternDot...] == name[nameDot...]
    else { return false }
    let label = pattern[..<patternDot]
    let wanted = name[..<nameDot]
    let stars = label.indices.filter { label[$0] == UInt8(ascii: "*") }
    // An A-label is one character to people: a part of it stands for nothing.
    guard stars.count == 1, let star = stars.first, !label.starts(with: Array("xn--".utf8)),
      wanted.count >= label.count - 1
    else { return false }
    return wanted.starts(with: label[..<star])
      && wanted.reversed().starts(with: label[(star + 1)...].reversed())
  }

  static func lowercased(_ name: [UInt8]) -> [UInt8] {
    name.map { $0 &- 65 < 26 ? $0 | 32 : $0 }
  }
}

/// IP addresses as certificates hold them, written as people do.
enum IPText {
  /// nil when there are neither 4 bytes nor 16.
  static func text(of address: [UInt8]) -> [UInt8]? {
    guard address.count == 4 || address.count == 16 else { return nil }
    var out = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    let family = address.count == 4 ? AF_INET : AF_INET6
    guard unsafe inet_ntop(family, address, &out, socklen_t(out.count)) != nil else { return nil }
    return out.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
  }
}
