import Resources
import Telemetry

/// A file of Envoy's resources, served to everyone as it is.
final class ResourceFileWatch: ConfigurationSource {
  private let path: String
  private let shared = SharedResources()
  /// The content that was read last, fit or not: what is written again unchanged is no news.
  private var lastBytes: [UInt8] = []

  init(_ path: String) { self.path = path }

  var source: ResourceSource { shared }
  var mesh: MeshSource? { nil }
  var isIncomplete: Bool { false }

  var directories: [String] {
    let slash = path.lastIndex(of: "/")
    return [slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."]
  }

  func validate() throws(ControlPlane.StartError) { _ = try read() }

  func start() throws(ControlPlane.StartError) {
    lastBytes = content
    shared.publish(try read())
  }

  private func read() throws(ControlPlane.StartError) -> ResourceSet {
    do throws(ResourceFile.Unfit) {
      return try ResourceFile.read(path)
    } catch {
      throw ControlPlane.StartError(reasons: error.reasons)
    }
  }

  private var content: [UInt8] {
    (try? FileReader.read(path, atMost: YAMLLimits.bytes).get()) ?? []
  }

  func reload() -> Bool {
    let bytes = content
    guard bytes != lastBytes else { return false }
    lastBytes = bytes
    do throws(ControlPlane.StartError) {
      shared.publish(try read())
      ProcessLog.shared.info(.config, "'\(path)' has changed: serving \(summary)")
      return true
    } catch {
      for reason in error.reasons { ProcessLog.shared.error(.config, reason) }
      ProcessLog.shared.error(
        .config, "'\(path)' is not taken over; what was served before still is")
      return false
    }
  }

  var summary: String {
    typealias TypeURL = ResourceSet.TypeURL
    let resources = shared.resources
    return "\(resources.count(of: TypeURL.listener)) listeners, "
      + "\(resources.count(of: TypeURL.routes)) route configurations, "
      + "\(resources.count(of: TypeURL.cluster)) clusters, "
      + "\(resources.count(of: TypeURL.endpoints)) endpoint assignments"
  }
}
