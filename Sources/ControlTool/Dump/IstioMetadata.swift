/// What Istio notes of a resource's origin, in `filter_metadata.istio`.
package enum IstioMetadata {
  /// The resource that a route or a cluster comes from: `name.namespace`; empty when none is noted.
  package static func origin(of resource: JSONValue) -> String {
    let path = resource["metadata"]["filter_metadata"]["istio"]["config"].text
    // /apis/networking.istio.io/v1/namespaces/NAMESPACE/virtual-service/NAME
    let parts = path.split(separator: "/", omittingEmptySubsequences: false)
    return parts.count == 8 ? "\(parts[7]).\(parts[5])" : path
  }

  /// Services that a cluster stands for.
  package static func services(of cluster: JSONValue) -> [JSONValue] {
    cluster["metadata"]["filter_metadata"]["istio"]["services"].items
  }
}
