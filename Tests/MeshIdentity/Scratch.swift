import Glibc
import Resources
import TLS
import Testing

@testable import MeshIdentity

/// A directory for one test, which goes with it.
final class Scratch {
  let path: String

  init() throws {
    var template = Array("/tmp/fairlead-identity-XXXXXX\0".utf8CString)
    let made = mkdtemp(&template)
    path = String(cString: try #require(made))
  }

  deinit { remove(path) }

  private func remove(_ path: String) {
    if let directory = opendir(path) {
      while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
          $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != ".", name != ".." { remove("\(path)/\(name)") }
      }
      closedir(directory)
      rmdir(path)
    } else {
      unlink(path)
    }
  }

  func read(_ name: String) -> [UInt8] {
    (try? FileReader.read("\(path)/\(name)", atMost: 1 << 20).get()) ?? []
  }

  func write(_ name: String, _ bytes: [UInt8]) throws {
    try PrivateFile.write("\(path)/\(name)", bytes)
  }

  func mode(of name: String) -> UInt32 {
    var found = stat()
    return stat("\(path)/\(name)", &found) == 0 ? found.st_mode & 0o777 : 0
  }
}

/// A certificate request for a new key.
func makeRequest(for uri: String = "") throws -> [UInt8] {
  let key = try #require(PrivateKey(.p256))
  return try #require(CertificateRequest.make(for: key, uri: uri))
}

func makeIdentity(_ namespace: String, _ account: String) throws -> WorkloadIdentity {
  try #require(
    WorkloadIdentity(
      trustDomain: "cluster.local", namespace: namespace, serviceAccount: account))
}
