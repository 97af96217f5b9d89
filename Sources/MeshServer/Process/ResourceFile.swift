import ResourceModel
import Resources
import SwiftProtobuf

/// Reads what is to be served from a file: `resources:` and a list of v3 resources, in YAML or JSON.
enum ResourceFile {
  /// The file is not fit to be served; every reason is a line.
  struct Unfit: Error {
    let reasons: [String]
  }

  /// All resources of the file. One mistake refuses the whole: half a change would be something that
  /// nobody has written.
  static func read(_ path: String) throws(Unfit) -> ResourceSet {
    let found: DiscoveredSet
    do throws(DiscoveryFile.Unreadable) {
      found = try DiscoveryFile.read(path)
    } catch {
      throw Unfit(reasons: error.reasons)
    }
    var reasons: [String] = []
    var resources: [String: [ServedResource]] = [:]
    var names: Set<[String]> = []
    for resource in found.resources {
      if resource.name.isEmpty {
        resource.diagnostics.error(at: resource.path, "a resource has a name")
      } else if !names.insert([resource.type, resource.name]).inserted {
        resource.diagnostics.error(
          at: resource.path, "there is already a '\(resource.name)' of this type")
      }
      reasons += resource.problems
      let type = "type.googleapis.com/" + resource.type
      resources[type, default: []].append(
        ServedResource(
          type: type, name: resource.name, bytes: resource.bytes,
          awaited: type == ResourceSet.TypeURL.cluster ? awaited(by: resource.bytes) : nil))
    }
    guard found.resources.allSatisfy(\.isFit) else { throw Unfit(reasons: reasons) }
    return ResourceSet(resources)
  }

  /// The endpoints that a cluster gets from the control plane.
  private static func awaited(by bytes: [UInt8]) -> [String]? {
    guard let cluster = try? Envoy_Config_Cluster_V3_Cluster(serializedBytes: bytes) else {
      return nil
    }
    return cluster.awaitedEndpoints
  }
}

extension Envoy_Config_Cluster_V3_Cluster {
  /// The assignments without which a proxy does not take the cluster into use.
  var awaitedEndpoints: [String] {
    guard hasEdsClusterConfig else { return [] }
    return [edsClusterConfig.serviceName.isEmpty ? name : edsClusterConfig.serviceName]
  }
}
