import MeshModel
import MeshTranslation
import ResourceModel

/// Certificates of Secrets that the client of a stream has asked for. It gets those of the namespace that its
/// identity is of (Istio's rule), and of those only what a Gateway or a DestinationRule names: whoever has
/// one workload's key is not to have all the namespace's.
struct StreamCredentials {
  typealias Secret = Envoy_Extensions_TransportSockets_Tls_V3_Secret

  /// Why a client does not get what it asks for.
  enum Refusal: String {
    case identity, namespace

    /// In words.
    var reason: String {
      switch self {
      case .identity:
        "keys are sent to a client alone that has proved who it is: it has to come to the secured port"
      case .namespace: "it is in another namespace than the client"
      }
    }
  }

  /// Of the identity that the client has proved; nil: it has proved none.
  private let namespace: String?
  /// What there is of it.
  private(set) var layer = ResourceLayer([:])
  /// What the client has asked for and may not have, by name.
  private(set) var refused: [String: Refusal] = [:]
  private var wanted: [String: CredentialReference] = [:]
  private var sent: [String: ServedResource] = [:]
  private var generation: UInt64?

  init(of namespace: String?) { self.namespace = namespace }

  /// The client asks for secrets of these names; returns those that are refused and were not before.
  mutating func want(_ names: [String]) -> [(name: String, refusal: Refusal)] {
    var news: [(name: String, refusal: Refusal)] = []
    for name in names where wanted[name] == nil && refused[name] == nil {
      guard var reference = CredentialReference(resource: name) else { continue }
      var refusal: Refusal? = namespace == nil ? .identity : nil
      // `kubernetes://namespace/name` is Istio's long form.
      if let namespace, let slash = reference.name.firstIndex(of: "/") {
        if reference.name[..<slash] == namespace {
          reference = reference.renamed(
            String(reference.name[reference.name.index(after: slash)...]))
        } else {
          refusal = .namespace
        }
      }
      if let refusal {
        // Some are told, and remembered for people to see; a client that names others without end is not
        // to fill the log.
        guard refused.count < MeshLimits.refusedSecrets,
          name.utf8.count <= MeshLimits.loggedBytes
        else { continue }
        refused[name] = refusal
        news.append((name, refusal))
      } else if wanted.count < MeshLimits.secretsPerStream {
        wanted[name] = reference
        generation = nil
      }
    }
    return news
  }

  /// The client wants these no more.
  mutating func forget(_ names: [String]) {
    for name in names {
      refused[name] = nil
      guard wanted.removeValue(forKey: name) != nil, sent.removeValue(forKey: name) != nil else {
        continue
      }
      generation = nil
    }
  }

  /// Takes over what the Secrets hold now. One that is gone, or has become useless, leaves what was sent of
  /// it: a gateway goes on with that until it ends.
  mutating func look(in source: ResourceSource, for node: ProxyNode) {
    guard let namespace, generation != source.credentialGeneration,
      !wanted.isEmpty || !layer.kinds.isEmpty
    else { return }
    generation = source.credentialGeneration
    let named = wanted.isEmpty ? [] : source.credentials(for: node)
    for (name, reference) in wanted where named.contains(reference.name) {
      guard let material = source.material(reference, in: namespace) else { continue }
      sent[name] = Self.resource(name, material, reference)
    }
    layer = ResourceLayer([ResourceSet.TypeURL.secret: Array(sent.values)], after: layer)
  }

  private static func resource(
    _ name: String, _ material: SecretMaterial, _ reference: CredentialReference
  ) -> ServedResource? {
    let secret = Secret.with {
      $0.name = name
      if reference.isTrust {
        $0.validationContext = .with {
          $0.trustedCa = .with { $0.inlineBytes = .init(material.trusted) }
          if !material.revoked.isEmpty {
            $0.crl = .with { $0.inlineBytes = .init(material.revoked) }
          }
        }
      } else {
        $0.tlsCertificate = .with {
          $0.certificateChain = .with { $0.inlineBytes = .init(material.chain) }
          $0.privateKey = .with { $0.inlineBytes = .init(material.key) }
        }
      }
    }
    // Of bytes that were made here; only a defect could make a message that is not written.
    guard let bytes: [UInt8] = try? secret.serializedBytes() else { return nil }
    return ServedResource(type: ResourceSet.TypeURL.secret, name: name, bytes: bytes)
  }
}
