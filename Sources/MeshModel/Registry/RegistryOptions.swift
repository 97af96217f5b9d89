/// What the operator says about services, beyond the objects.
package struct RegistryOptions: Sendable {
  /// Behind `<service>.<namespace>.svc.`
  package var domain = "cluster.local"
  /// What is spoken on a port whose name does not say so: `tcp`, or `auto` to find out when clients
  /// speak, as Istio does.
  package var unnamedPorts = PortProtocol.tcp

  /// What identities begin with, where no MeshConfig says so.
  package var trustDomain = "cluster.local"

  package init() {}
}
