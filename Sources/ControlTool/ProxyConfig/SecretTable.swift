import TLS

/// `pc secret`: the certificates that a proxy has been given.
package enum SecretTable {
  /// - Parameter isVerbose: also whose identities they are.
  package static func text(
    _ secrets: [(status: String, secret: JSONValue)], now: Int, isVerbose: Bool
  ) -> String {
    var table = table(isVerbose: isVerbose)
    for (status, secret) in secrets {
      let name = secret["name"].text
      let rows = certificates(of: secret)
      if rows.isEmpty { append([name, kind(of: secret), status], to: &table, isVerbose) }
      for (type, facts) in rows {
        let isValid = facts.notBefore <= now && now <= facts.notAfter
        let cells = [
          name, type, status, isValid ? "true" : "false", text(facts.serial),
          Timestamp.text(facts.notAfter), Timestamp.text(facts.notBefore), trustDomain(of: facts),
        ]
        append(cells, to: &table, isVerbose)
      }
    }
    return table.text
  }

  private static func table(isVerbose: Bool) -> TextTable {
    isVerbose
      ? TextTable(
        "RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE",
        "TRUST DOMAIN")
      : TextTable(
        "RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE")
  }

  private static func append(_ cells: [String], to table: inout TextTable, _ isVerbose: Bool) {
    let width = isVerbose ? 8 : 7
    let known = cells.prefix(width).map { $0.isEmpty ? "-" : $0 }
    table.append(known + Array(repeating: "-", count: width - known.count))
  }

  private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  private static func kind(of secret: JSONValue) -> String {
    for (member, kind) in [
      ("tls_certificate", "Cert Chain"), ("validation_context", "CA"),
      ("session_ticket_keys", "Ticket Keys"), ("generic_secret", "Generic"),
    ] where !secret[member].isNull { return kind }
    return ""
  }

  /// Of a chain the certificate that it is about; of authorities all.
  private static func certificates(of secret: JSONValue) -> [(String, CertificateFacts)] {
    let chain = read(secret["tls_certificate"]["certificate_chain"]).prefix(1)
    let authorities = read(secret["validation_context"]["trusted_ca"])
    return chain.map { ("Cert Chain", $0) } + authorities.map { ("CA", $0) }
  }

  /// What an `envoy.config.core.v3.DataSource` holds.
  private static func read(_ source: JSONValue) -> [CertificateFacts] {
    if let text = source["inline_string"].stringValue {
      return CertificateFacts.read(pem: Array(text.utf8))
    }
    return source["inline_bytes"].stringValue.flatMap(Base64.decode)
      .map { CertificateFacts.read(pem: $0) } ?? []
  }

  /// Of `spiffe://cluster.local/ns/default/sa/web`: `cluster.local`.
  private static func trustDomain(of facts: CertificateFacts) -> String {
    facts.names.uris.lazy.map(text).first { $0.hasPrefix("spiffe://") }
      .map { String($0.dropFirst("spiffe://".count).prefix { $0 != "/" }) } ?? ""
  }

  /// The same of `/certs`: what stands in files, or in the configuration itself, is no secret that
  /// was sent, and is not in the dump.
  package static func text(certificates document: JSONValue, now: Int) -> String {
    var table = table(isVerbose: false)
    for entry in document["certificates"].items {
      for (member, type) in [("cert_chain", "Cert Chain"), ("ca_cert", "CA")] {
        for each in entry[member].items {
          let (from, until) = (each["valid_from"].text, each["expiration_time"].text)
          let isValid =
            (Timestamp.second(of: from) ?? Int.max) <= now
            && now <= (Timestamp.second(of: until) ?? Int.min)
          append(
            [
              each["path"].text, type, "ACTIVE", isValid ? "true" : "false",
              each["serial_number"].text, until, from,
            ], to: &table, false)
        }
      }
    }
    return table.text
  }
}
