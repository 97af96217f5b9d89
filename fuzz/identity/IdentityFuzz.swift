// libFuzzer's entry into what callers of the certificate authority send: the first byte chooses a JSON web
// token, a key set, a join token, what is stored of one, a name, or a request for a certificate.

import MeshIdentity
import TLS

/// Keeps results alive: what nobody uses is optimised away, and the reader with it.
nonisolated(unsafe) public var sink = 0

/// A point on P-256 that belongs to nobody here: its signatures cannot be made.
private let keys = """
  {"keys":[{"kty":"EC","crv":"P-256","kid":"k",\
  "x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",\
  "y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}]}
  """
private let issuer = TokenIssuer(name: "i", audience: "a", keys: Array(keys.utf8))

private let signer: CertificateSigner? = {
  var template = CertificateTemplate(notBefore: 0, notAfter: 4_000_000_000)
  template.commonName = "root"
  template.isAuthority = true
  guard let key = PrivateKey(.p256), let pem = CertificateSigner.selfSigned(key, template) else {
    return nil
  }
  return try? CertificateSigner(certificate: pem, key: key.pem)
}()

private func readToken(_ text: String) {
  guard let issuer else { preconditionFailure("the key is one") }
  do throws(TokenIssuer.Doubt) {
    _ = try issuer.subject(of: text, in: "t", at: 1000)
    preconditionFailure("nobody can sign for it")
  } catch {
    sink &+= error.description.utf8.count
  }
}

private func readJoinToken(_ text: String) {
  guard let (id, secret) = JoinTokens.parts(of: text) else { return }
  precondition(!id.contains("/") && !id.contains("."), "an id is a file's name")
  precondition(text == "join.\(id).\(Base64URL.encode(secret))", "a token has one text")
}

private func readEntry(_ text: String) {
  guard let entry = JoinTokens.entry(text) else { return }
  precondition(
    JoinTokens.entry(JoinTokens.text(entry)) == entry, "what is written is what was read")
}

private func readName(_ text: String) {
  guard let identity = WorkloadIdentity(uri: text) else { return }
  precondition(identity.uri == text, "an identity has one name")
}

private func readRequest(_ bytes: [UInt8]) {
  guard let signer, let request = try? CertificateRequest(pem: bytes) else { return }
  var template = CertificateTemplate(notBefore: 0, notAfter: 2000)
  template.uris = ["spiffe://t/ns/a/sa/b"]
  guard let pem = signer.issue(template, for: request) else { return }
  let names = CertificateFacts.read(pem: pem).first?.names
  precondition(names?.uris == [Array("spiffe://t/ns/a/sa/b".utf8)], "one name, and that is ours")
  precondition(names?.dns.isEmpty == true && names?.commonName == nil, "nothing of the request")
}

/// Reads one input. Crashes when a reader breaks a promise.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  guard let data, size > 1 else { return 0 }
  let bytes = Array(UnsafeBufferPointer(start: data + 1, count: size - 1))
  let text = String(decoding: bytes, as: UTF8.self)
  switch data[0] {
  case UInt8(ascii: "t"): readToken(text)
  case UInt8(ascii: "k"):
    sink &+= TokenIssuer(name: "i", audience: "a", keys: bytes) == nil ? 0 : 1
  case UInt8(ascii: "j"): readJoinToken(text)
  case UInt8(ascii: "e"): readEntry(text)
  case UInt8(ascii: "n"): readName(text)
  case UInt8(ascii: "r"): readRequest(bytes)
  default: break
  }
  return 0
}
