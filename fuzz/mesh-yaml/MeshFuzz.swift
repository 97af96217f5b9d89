// libFuzzer's entry into the control plane's configuration: a file of objects, and behind a zero byte
// what takes its place. Each is read, becomes a mesh, and is translated for a client of every profile.

import MeshModel
import MeshTranslation
import SwiftProtobuf

@testable import MeshServer

/// Keeps results alive: what nobody uses is optimised away, and the reader with it.
nonisolated(unsafe) public var sink = 0

private func node(
  _ client: String, _ role: String = "sidecar", _ metadata: [String: String] = [:]
) -> ProxyNode {
  var fields = Google_Protobuf_Struct()
  for (name, value) in metadata { fields.fields[name] = .with { $0.stringValue = value } }
  fields.fields["LABELS"] = .with { value in
    value.structValue.fields["app"] = .with { $0.stringValue = "a" }
  }
  return ProxyNode(
    id: "\(role)~10.0.0.1~a-1.default~default.svc.cluster.local", cluster: "a", metadata: fields,
    userAgent: client, locality: MeshLocality())
}

private let nodes = [
  node(
    "fairlead", "sidecar",
    ["INTERCEPTION_MODE": "NONE", "APPLICATION_ADDRESS": "127.0.0.2", "HTTP_PROXY_PORT": "15007"]),
  node("fairlead", "router"), node("envoy"), node("envoy", "router"), node("grpc"),
]

private let types = ResourceSet.TypeURL.pushOrder

/// What all clients are served.
private func digests(_ source: MeshSource) -> [[UInt64]] {
  nodes.flatMap { node in
    let set = source.resources(for: node)
    sink &+= source.omissions(for: node).count
    return types.map { type in
      let all = set.all(of: type)
      precondition(Set(all.map(\.name)).count == all.count, "a name is there once")
      return all.map(\.fingerprint)
    }
  }
}

/// Reads one input.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: data, count: size))
  let versions = bytes.split(separator: 0, maxSplits: 1, omittingEmptySubsequences: false)
  let followed = MeshSource(options: RegistryOptions())
  let late = MeshSource(options: RegistryOptions())
  for version in versions {
    let files = ["mesh.yaml": Array(version)]
    _ = followed.update(files)
    _ = late.update(files)
    _ = digests(followed)
    for problem in followed.store.diagnostics {
      precondition(!problem.description.contains("\n"), "a problem is one line")
    }
  }
  precondition(
    digests(followed) == digests(late),
    "whoever follows changes has what whoever comes afterwards gets")
  return 0
}
