import CLinux
import Engine
import ResourceModel
import Resources
import Routing
import TLS

/// Reads TLS contexts of the configuration into plain options: files are read, texts become rules. The
/// same reading is done again when a file changes.
struct TLSCompiler {
  typealias Common = Envoy_Extensions_TransportSockets_Tls_V3_CommonTlsContext
  typealias Upstream = Envoy_Extensions_TransportSockets_Tls_V3_UpstreamTlsContext
  typealias Downstream = Envoy_Extensions_TransportSockets_Tls_V3_DownstreamTlsContext
  typealias ValidationMessage =
    Envoy_Extensions_TransportSockets_Tls_V3_CertificateValidationContext

  let diagnostics: Diagnostics

  /// A certificate, a key or a list of them: far more than any has, far less than hurts.
  static let fileBytes = 4 * 1024 * 1024

  // MARK: Roles

  /// - Parameter places: where the parts of its common context come from.
  func options(_ message: Upstream, _ places: TLSPartPlaces) -> TLSOptions? {
    var client = TLSClientOptions()
    client.matchesServerName = message.autoSniSanValidation
    var options = TLSOptions(.client(client))
    guard fill(&options, message.commonTlsContext, places) else { return nil }
    if options.certificates.count > 1 {
      diagnostics.error(
        at: places.certificate(1),
        "a client presents one certificate; keep one")
      return nil
    }
    return options
  }

  func options(
    _ message: Downstream, ticketKeys: TicketKeys?, _ places: TLSPartPlaces
  ) -> TLSOptions? {
    var server = TLSServerOptions()
    server.requiresClientCertificate = message.requireClientCertificate.value
    server.prefersClientCiphers = message.preferClientCiphers
    server.scansCertificatesOnMismatch = message.fullScanCertsOnSniMismatch.value
    server.sendsTickets = !message.disableStatelessSessionResumption
    server.remembersSessions = !message.disableStatefulSessionResumption
    server.ticketKeys = ticketKeys
    if message.hasSessionTimeout {
      server.sessionTimeout = UInt32(clamping: message.sessionTimeout.seconds)
    }
    var options = TLSOptions(.server(server))
    guard fill(&options, message.commonTlsContext, places) else { return nil }
    if options.certificates.isEmpty {
      diagnostics.error(
        at: places.common.field("tls_certificates"), "missing; a server needs a certificate")
      return nil
    }
    return options
  }

  /// The keys for tickets; fresh ones where the configuration gives none.
  func ticketKeys(_ message: Downstream, at path: ConfigPath) -> TicketKeys? {
    guard case .sessionTicketKeys(let list)? = message.sessionTicketKeysType else {
      return TicketKeys()
    }
    var keys: [[UInt8]] = []
    for (index, source) in list.keys.enumerated() {
      let place = path.field("session_ticket_keys").field("keys").index(index)
      guard let key = read(source, at: place) else { continue }
      guard key.count == TicketKeys.keyBytes else {
        diagnostics.error(
          at: place, "a key has \(TicketKeys.keyBytes) bytes; this one has \(key.count)")
        continue
      }
      keys.append(key)
    }
    return keys.isEmpty ? nil : TicketKeys(configured: keys)
  }

  // MARK: Both

  private func fill(
    _ options: inout TLSOptions, _ message: Common, _ places: TLSPartPlaces
  ) -> Bool {
    setAlgorithms(&options, message.tlsParams)
    for (index, name) in message.alpnProtocols.enumerated()
    where name.isEmpty || name.utf8.count > 255 {
      diagnostics.error(
        at: places.common.field("alpn_protocols").index(index),
        "a protocol's name has 1 to 255 bytes")
      return false
    }
    options.protocols = message.alpnProtocols
    for (index, certificate) in message.tlsCertificates.enumerated() {
      guard let pair = read(certificate, at: places.certificate(index)) else { return false }
      options.certificates.append(pair)
    }
    guard case .validationContext(let validation)? = message.validationContextType else {
      return true
    }
    guard let rules = read(validation, at: places.validation) else { return false }
    options.validation = rules
    return true
  }

  private func setAlgorithms(
    _ options: inout TLSOptions, _ message: Envoy_Extensions_TransportSockets_Tls_V3_TlsParameters
  ) {
    options.minimumVersion = message.tlsMinimumProtocolVersion.version ?? options.minimumVersion
    options.maximumVersion = message.tlsMaximumProtocolVersion.version ?? options.maximumVersion
    // Groups of equal preference, `[A|B]`, are BoringSSL's; in order they mean nearly the same.
    options.ciphers = message.cipherSuites.flatMap { suite in
      suite.hasPrefix("[") && suite.hasSuffix("]")
        ? suite.dropFirst().dropLast().split(separator: "|").map(String.init) : [suite]
    }
    options.curves = message.ecdhCurves
    options.signatureAlgorithms = message.signatureAlgorithms
  }

  func read(
    _ message: Envoy_Extensions_TransportSockets_Tls_V3_TlsCertificate, at path: ConfigPath
  ) -> TLSCertificate? {
    guard let chain = read(message.certificateChain, at: path.field("certificate_chain")),
      let key = read(message.privateKey, at: path.field("private_key"))
    else { return nil }
    guard message.hasPassword else { return TLSCertificate(chain: chain, key: key) }
    guard let password = read(message.password, at: path.field("password")) else { return nil }
    return TLSCertificate(chain: chain, key: key, password: password)
  }

  private func read(
    _ source: Envoy_Config_Core_V3_DataSource, at path: ConfigPath
  ) -> [UInt8]? {
    guard source.specifier != nil else {
      if !diagnostics.hasError(at: path) { diagnostics.error(at: path, "missing") }
      return nil
    }
    return DataSourceReader.read(source, atMost: Self.fileBytes, at: path, diagnostics)
  }

  // MARK: Validation

  func read(_ message: ValidationMessage, at path: ConfigPath) -> TLSValidation? {
    var rules = TLSValidation()
    if message.hasTrustedCa {
      guard let authorities = read(message.trustedCa, at: path.field("trusted_ca")) else {
        return nil
      }
      rules.trustedCA = authorities
    }
    if message.hasCrl {
      guard let lists = read(message.crl, at: path.field("crl")) else { return nil }
      rules.revocationLists = lists
    }
    rules.checksOnlyLeafRevocation = message.onlyVerifyLeafCertCrl
    rules.allowsExpired = message.allowExpiredCertificate
    rules.acceptsUntrusted = message.trustChainVerification == .acceptUntrusted
    rules.maxVerifyDepth = message.hasMaxVerifyDepth ? message.maxVerifyDepth.value : nil
    for (index, text) in message.verifyCertificateHash.enumerated() {
      guard let digest = PinText.hexadecimal(text) else {
        diagnostics.error(
          at: path.field("verify_certificate_hash").index(index),
          "expected SHA-256 as 64 hexadecimal digits, with or without colons")
        return nil
      }
      rules.certificateDigests.append(digest)
    }
    for (index, text) in message.verifyCertificateSpki.enumerated() {
      guard let digest = PinText.base64(text) else {
        diagnostics.error(
          at: path.field("verify_certificate_spki").index(index),
          "expected SHA-256 in base64, which is 44 characters")
        return nil
      }
      rules.keyDigests.append(digest)
    }
    guard let names = names(message, at: path) else { return nil }
    rules.names = names
    if !names.isEmpty, rules.trustedCA == nil, !rules.acceptsUntrusted {
      diagnostics.error(
        at: path,
        "names prove nothing without trusted_ca: anybody can write a certificate with any name")
      return nil
    }
    return rules
  }

  private func names(_ message: ValidationMessage, at path: ConfigPath) -> [TLSNameMatcher]? {
    var names: [TLSNameMatcher] = []
    for (index, typed) in message.matchTypedSubjectAltNames.enumerated() {
      let place = path.field("match_typed_subject_alt_names").index(index)
      guard let kind = typed.sanType.kind else {
        if !diagnostics.hasError(at: place.field("san_type")) {
          diagnostics.error(at: place.field("san_type"), "expected a kind of name")
        }
        return nil
      }
      guard let matcher = matcher(kind, typed.matcher, at: place.field("matcher")) else {
        return nil
      }
      names.append(matcher)
    }
    for (index, message) in message.matchSubjectAltNames.enumerated() {
      let place = path.field("match_subject_alt_names").index(index)
      for kind in [TLSNameMatcher.Kind.dns, .uri, .email, .ip] {
        guard let matcher = matcher(kind, message, at: place) else { return nil }
        names.append(matcher)
      }
    }
    return names
  }

  private func matcher(
    _ kind: TLSNameMatcher.Kind, _ message: Envoy_Type_Matcher_V3_StringMatcher,
    at path: ConfigPath
  ) -> TLSNameMatcher? {
    // Memory of its own: contexts are built anew, and each lasts as long as its connections.
    let own = ResourceMemory()
    guard let compiled = own.whileOpen({ StringMatcher(message, at: path, diagnostics) }) else {
      return nil
    }
    // SAFETY: a compiled matcher never changes, RE2's expressions may be shared by threads, and their
    // memory may be given back by any.
    nonisolated(unsafe) let rule = compiled
    nonisolated(unsafe) let memory = own
    var exact: [UInt8]?
    if case .exact(let name)? = message.matchPattern { exact = Array(name.utf8) }
    return TLSNameMatcher(kind, exactName: exact) { name in
      defer { unsafe withExtendedLifetime(memory) {} }
      return unsafe name.withUnsafeBufferPointer { buffer in
        guard let base = buffer.baseAddress else { return unsafe rule.matches(.empty) }
        return unsafe rule.matches(unsafe Bytes(base: base, count: buffer.count))
      }
    }
  }
}

extension Envoy_Extensions_TransportSockets_Tls_V3_TlsParameters.TlsProtocol {
  /// nil: the default.
  fileprivate var version: TLSOptions.Version? {
    switch self {
    case .tlsv10: .tls10
    case .tlsv11: .tls11
    case .tlsv12: .tls12
    case .tlsv13: .tls13
    case .tlsAuto, .UNRECOGNIZED: nil
    }
  }
}

extension Envoy_Extensions_TransportSockets_Tls_V3_SubjectAltNameMatcher.SanType {
  fileprivate var kind: TLSNameMatcher.Kind? {
    switch self {
    case .dns: .dns
    case .uri: .uri
    case .email: .email
    case .ipAddress: .ip
    case .unspecified, .UNRECOGNIZED: nil
    }
  }
}

/// Digests as configurations write them.
enum PinText {
  /// 32 bytes from hexadecimal digits, in pairs that colons may separate.
  static func hexadecimal(_ text: String) -> [UInt8]? {
    let digits = text.utf8.filter { $0 != UInt8(ascii: ":") }.map(ASCII.hex)
    guard digits.count == 64, !digits.contains(255) else { return nil }
    return stride(from: 0, to: 64, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
  }

  /// 32 bytes from base64 (RFC 4648 §4).
  static func base64(_ text: String) -> [UInt8]? {
    let characters = Array(text.utf8)
    guard characters.count == 44, characters.last == UInt8(ascii: "=") else { return nil }
    var bits: UInt32 = 0
    var count = 0
    var out: [UInt8] = []
    for character in characters.dropLast() {
      guard let value = sextet(character) else { return nil }
      bits = bits << 6 | UInt32(value)
      count += 6
      if count >= 8 {
        count -= 8
        out.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
      }
    }
    return out.count == 32 ? out : nil
  }

  private static func sextet(_ character: UInt8) -> UInt8? {
    switch character {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): character - UInt8(ascii: "A")
    case UInt8(ascii: "a")...UInt8(ascii: "z"): character - UInt8(ascii: "a") + 26
    case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0") + 52
    case UInt8(ascii: "+"): 62
    case UInt8(ascii: "/"): 63
    default: nil
    }
  }
}
