import MeshModel
import MeshTranslation

/// Where the resources of clients come from. Belongs to one loop.
protocol ResourceSource: AnyObject {
  /// What a client is to have now.
  func resources(for node: ProxyNode) -> ResourceSet
  /// A client has come, on a stream of that number.
  func connected(_ node: ProxyNode, stream: UInt64)
  /// A client has gone.
  func disconnected(_ node: ProxyNode, stream: UInt64)
  /// A client says how its application is; nil for well.
  func reported(_ problem: String?, stream: UInt64)
  /// Another number whenever `material` may answer something else.
  var credentialGeneration: UInt64 { get }
  /// The Secrets of its own namespace that rules give to a client.
  func credentials(for node: ProxyNode) -> Set<String>
  /// What a Secret of a namespace holds; nil: there is none, or not what is asked for.
  func material(_ reference: CredentialReference, in namespace: String) -> SecretMaterial?
  /// What rules ask for and a client cannot do.
  func omissions(for node: ProxyNode) -> [Omission]
}

/// The same resources for everyone: those of one file.
final class SharedResources: ResourceSource {
  private(set) var resources = ResourceSet()

  func publish(_ resources: ResourceSet) { self.resources = resources }
  func resources(for node: ProxyNode) -> ResourceSet { resources }
  func connected(_ node: ProxyNode, stream: UInt64) {}
  func disconnected(_ node: ProxyNode, stream: UInt64) {}
  func reported(_ problem: String?, stream: UInt64) {}
  /// A file serves its secrets itself.
  let credentialGeneration: UInt64 = 0
  func credentials(for node: ProxyNode) -> Set<String> { [] }
  func material(_ reference: CredentialReference, in namespace: String) -> SecretMaterial? { nil }
  func omissions(for node: ProxyNode) -> [Omission] { [] }
}
