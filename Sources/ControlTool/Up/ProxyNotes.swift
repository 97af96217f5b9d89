import MeshMessages
import MeshModel
import MeshTranslation

/// What files say of proxies that nothing follows from on this machine.
enum ProxyNotes {
  /// One sentence for each.
  static func notes(on objects: [MeshObject]) -> [String] {
    objects.sorted { $0.id < $1.id }.compactMap { object in
      switch object.spec {
      case .proxyConfig(let config):
        config.hasImage
          ? "\(object.id): 'image' is not run here: the proxies are programs of this machine" : nil
      case .deployment(let spec):
        annotation(spec.template.metadata.annotations)?.hasMore == true
          ? "\(object.id): of \(ObjectReader.proxyConfigAnnotation), 'concurrency' and "
            + "'proxyMetadata' have an effect here" : nil
      default: nil
      }
    }
  }

  private static func annotation(
    _ annotations: [String: String]
  ) -> Istio_Mesh_V1alpha1_ProxyConfig? {
    annotations[ObjectReader.proxyConfigAnnotation].flatMap {
      try? ObjectReader.proxyConfig($0).get()
    }
  }
}
