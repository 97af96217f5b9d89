import MeshMessages
import MeshModel
import Resources

/// What an object says that its fields allow and that cannot work: found before it takes effect.
package enum ObjectCheck {
  /// Reports what is wrong with an object that could be read, at the places where it is written.
  package static func check(_ object: MeshObject, _ read: ReadObject) {
    let check = FieldCheck(report: read.diagnostics)
    let spec = ConfigPath.root["spec"]
    switch object.spec {
    case .virtualService(let rule):
      VirtualServiceCheck(check: check, object: object).check(rule, spec)
    case .destinationRule(let rule):
      DestinationRuleCheck(check: check, object: object).check(rule, spec)
    case .gateway(let gateway): GatewayCheck(check: check).check(gateway, spec)
    case .serviceEntry(let entry):
      ServiceEntryCheck(check: check, object: object).check(entry, spec)
    case .workloadEntry(let entry): WorkloadEntryCheck(check: check).check(entry, spec)
    case .workloadGroup(let group): WorkloadEntryCheck(check: check).check(group, spec)
    case .sidecar(let sidecar): SidecarCheck(check: check).check(sidecar, spec)
    case .authorizationPolicy(let policy):
      AuthorizationPolicyCheck(check: check, tree: read.tree).check(policy, spec)
    case .peerAuthentication(let policy):
      AuthenticationCheck(check: check).check(policy, spec)
    case .requestAuthentication(let policy):
      AuthenticationCheck(check: check).check(policy, spec)
    case .service(let service): KubernetesCheck(check: check).check(service, spec)
    case .endpointSlice(let slice): KubernetesCheck(check: check).check(slice, .root)
    case .pod(let pod, _): KubernetesCheck(check: check).check(pod, spec)
    case .deployment(let deployment):
      KubernetesCheck(check: check).check(deployment, spec)
    case .meshConfig(let config): MeshConfigCheck(check: check).check(config, spec)
    case .telemetry(let rule): TelemetryCheck(check: check).check(rule, spec)
    case .proxyConfig(let config): ProxyConfigCheck(check: check).check(config, spec)
    case .envoyFilter(let filter):
      EnvoyFilterCheck(check: check, object: object).check(filter, spec)
    case .secret(let secret): SecretCheck(check: check).check(secret)
    case .namespace, .node, .serviceAccount: break
    }
  }
}
