import CLinux
import ResourceModel
import Resources
import Telemetry
import XDSClient

/// Who is told of resources.
struct Subscriber {
  /// A whole answer has come. Returns what of it is refused: the rest has been taken over.
  let update: (DiscoveredSet) -> [Refusal]
  /// There is no answer yet, or none that could be read: who waits for a first one goes on without.
  let failed: () -> Void
}

/// Resources of one kind that come from somewhere. It ends when nobody holds it any more.
protocol Subscription: AnyObject {
  /// Asks for the resources; from then on they are followed.
  func start()
}

/// A version of a resource that is in force.
struct AcceptedResource {
  let resource: DiscoveredResource
  let version: String
  /// Nanoseconds since 1970.
  let acceptedAt: UInt64

  init(resource: DiscoveredResource, version: String) {
    self.resource = resource
    self.version = version
    acceptedAt = resource.storedAt ?? fl_realtime_ns()
  }
}

extension Refusal {
  /// - Parameter what: for logs: `RDS for 'local'`.
  func log(by what: String) {
    for reason in reasons {
      ProcessLog.shared.warning(.config, "\(what): '\(name)' is refused: \(reason)")
    }
  }
}

extension Server {
  /// A subscription to what a `config_source` leads to.
  /// - Parameters:
  ///   - name: of the one resource that is wanted; nil for all of the kind.
  ///   - what: for logs: `RDS for 'local'`.
  ///   - scope: of its statistics; ends with a dot.
  func subscribe(
    to source: Envoy_Config_Core_V3_ConfigSource, _ type: ResourceType, named name: String?,
    of what: String, scope: String, _ subscriber: Subscriber
  ) -> any Subscription {
    let stats = SubscriptionStats(scope: scope, in: config.store)
    func stream(_ client: XDSClient, isOwn: Bool) -> any Subscription {
      StreamSubscription(
        type, named: name, from: client, isOwn: isOwn,
        fetchTimeout: source.hasInitialFetchTimeout
          ? source.initialFetchTimeout.milliseconds
          : Defaults.initialFetchTimeout.wholeMilliseconds,
        of: what, stats: stats, subscriber: subscriber, on: loop)
    }
    if case .ads? = source.configSourceSpecifier, let controlPlane {
      return stream(controlPlane, isOwn: false)
    }
    if case .apiConfigSource(let api)? = source.configSourceSpecifier,
      let control = config.context.streams.settings(api),
      let client = makeClient(control, for: .single(type), scope: scope)
    {
      return stream(client, isOwn: true)
    }
    return FileSubscription(
      source.pathConfigSource, of: what, stats: stats, watcher: watcher, subscriber: subscriber)
  }
}
