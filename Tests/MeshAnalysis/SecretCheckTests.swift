import MeshModel
import Testing

@testable import MeshAnalysis

private func problems(_ text: String) -> [String] {
  var store = MeshStore(check: ObjectCheck.check)
  _ = store.update(["s.yaml": Array(text.utf8)])
  return store.diagnostics.map { "\($0.path): \($0.message)" }
}

private func secret(_ type: String, _ values: String) -> String {
  "{apiVersion: v1, kind: Secret, metadata: {name: s}, type: \(type), stringData: {\(values)}}"
}

@Suite("Secrets with certificates")
struct SecretCheckTests {
  @Test("a certificate that nobody can show is refused, without a word of what is in it")
  func refused() {
    let found = problems(secret("kubernetes.io/tls", "tls.crt: hidden, tls.key: hidden"))
    #expect(found.count == 1)
    #expect(found.first?.hasPrefix("stringData: the certificate: no certificate in it") == true)
    #expect(found.first?.contains("hidden") == false)
  }

  @Test("a Secret for TLS has both parts; one of another type may have what it likes")
  func parts() {
    #expect(
      problems(secret("kubernetes.io/tls", "tls.crt: x"))
        == ["stringData: a Secret of type kubernetes.io/tls has 'tls.crt' and 'tls.key'"])
    #expect(problems(secret("Opaque", "cert: red, key: blue")).isEmpty)
  }
}
