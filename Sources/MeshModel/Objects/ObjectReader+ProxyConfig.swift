import MeshMessages
import Resources
import SwiftProtobuf

extension ObjectReader {
  /// The annotation of a pod that says how its proxy is started: a text of YAML.
  package static let proxyConfigAnnotation = "proxy.istio.io/config"

  /// What that annotation says, or the first thing that is wrong with it.
  package static func proxyConfig(
    _ text: String
  ) -> Result<Istio_Mesh_V1alpha1_ProxyConfig, ProxyConfigMistake> {
    do {
      let documents = try ObjectFile.read(Array(text.utf8), name: "annotation")
      guard let document = documents.first else { return .success(.init()) }
      guard documents.count == 1 else {
        return .failure(ProxyConfigMistake(message: "one document is expected"))
      }
      let message = Istio_Mesh_V1alpha1_ProxyConfig.protoMessageName
      guard let read = document.read(as: message, in: schema) else {
        return .failure(ProxyConfigMistake(message: "internal error: no message \(message)"))
      }
      if let mistake = read.diagnostics.all.first(where: { $0.severity == .error }) {
        return .failure(ProxyConfigMistake(message: "\(mistake.path): \(mistake.message)"))
      }
      return .success(try .init(serializedBytes: read.bytes))
    } catch let unreadable as ObjectFile.Unreadable {
      return .failure(ProxyConfigMistake(message: unreadable.diagnostic.message))
    } catch {
      // The writer's own bytes; only a defect leads here.
      return .failure(ProxyConfigMistake(message: "internal error: \(error)"))
    }
  }
}

/// Why an annotation says nothing.
package struct ProxyConfigMistake: Error, Equatable {
  package let message: String
}
