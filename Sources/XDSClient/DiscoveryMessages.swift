import ResourceModel
import Resources
import SwiftProtobuf

/// What we say on a stream, of one kind of resources, in either variant.
struct DiscoveryRequest: Equatable {
  let type: ResourceType
  /// State of the world: of the last answer that was accepted whole.
  var version = ""
  /// Of the answer that this is the answer to.
  var nonce = ""
  /// State of the world: all names that are wanted; none are all. Delta: those wanted besides.
  var names: [String] = []
  /// Delta: those not wanted any more.
  var unwanted: [String] = []
  /// Delta: what we have from an earlier stream, by name and version.
  var known: [String: String] = [:]
  /// Why the answer of that nonce is not accepted.
  var refusal: String?

  /// As it travels.
  /// - Parameter node: nil when the server has heard it.
  func bytes(
    _ variant: DiscoveryVariant, node: Envoy_Config_Core_V3_Node?
  ) throws -> [UInt8] {
    let status = refusal.map { reason in
      Google_Rpc_Status.with {
        $0.code = XDSLimits.refusalCode
        $0.message = XDSLimits.shorten(reason)
      }
    }
    switch variant {
    case .stateOfTheWorld:
      return try Envoy_Service_Discovery_V3_DiscoveryRequest.with {
        if let node { $0.node = node }
        $0.typeURL = type.url
        $0.versionInfo = version
        $0.responseNonce = nonce
        $0.resourceNames = names
        if let status { $0.errorDetail = status }
      }.serializedBytes()
    case .delta:
      return try Envoy_Service_Discovery_V3_DeltaDiscoveryRequest.with {
        if let node { $0.node = node }
        $0.typeURL = type.url
        $0.responseNonce = nonce
        $0.resourceNamesSubscribe = names
        $0.resourceNamesUnsubscribe = unwanted
        $0.initialResourceVersions = known
        if let status { $0.errorDetail = status }
      }.serializedBytes()
    }
  }
}

/// What the server says, in either variant.
struct DiscoveryAnswer {
  /// One resource as it came.
  struct Entry {
    /// As the answer calls it: always in delta, elsewhere only if it is wrapped. Otherwise only the
    /// resource itself knows.
    var name = ""
    var version = ""
    /// Nil: a heartbeat, which says that what was sent before is still there.
    let resource: Google_Protobuf_Any?
    /// Milliseconds after which it is gone unless it is sent again; nil: it lasts.
    var timeToLive: UInt64?

    init(name: String = "", version: String = "", resource: Google_Protobuf_Any) {
      self.name = name
      self.version = version
      self.resource = resource
    }

    init(_ wire: Envoy_Service_Discovery_V3_Resource) {
      name = wire.name
      version = wire.version
      resource = wire.hasResource ? wire.resource : nil
      if wire.hasTtl { timeToLive = wire.ttl.clampedMilliseconds }
    }

    /// State of the world: a resource, or one in the wrapper that carries its name and its version
    /// (`xds.config.resource-in-sotw`). A wrapper in a wrapper, or one that cannot be read, stays what
    /// it is: no resource of any kind that is asked for, so that the answer is refused.
    init(unwrapping resource: Google_Protobuf_Any) {
      guard resource.typeURL == Self.wrapper,
        let wire = try? Envoy_Service_Discovery_V3_Resource(serializedBytes: resource.value)
      else {
        self.init(resource: resource)
        return
      }
      self.init(wire)
    }

    private static let wrapper = "type.googleapis.com/envoy.service.discovery.v3.Resource"
  }

  var typeURL = ""
  var version = ""
  var nonce = ""
  var entries: [Entry] = []
  /// Delta: what is not there, or not any more.
  var removed: [String] = []
  /// Who the server says that it is; may be empty.
  var identifier = ""

  init() {}

  init(_ bytes: [UInt8], _ variant: DiscoveryVariant) throws {
    switch variant {
    case .stateOfTheWorld:
      let wire = try Envoy_Service_Discovery_V3_DiscoveryResponse(serializedBytes: bytes)
      typeURL = wire.typeURL
      version = wire.versionInfo
      nonce = wire.nonce
      entries = wire.resources.map(Entry.init(unwrapping:))
      identifier = wire.controlPlane.identifier
    case .delta:
      let wire = try Envoy_Service_Discovery_V3_DeltaDiscoveryResponse(serializedBytes: bytes)
      typeURL = wire.typeURL
      version = wire.systemVersionInfo
      nonce = wire.nonce
      entries = wire.resources.map(Entry.init)
      removed = wire.removedResources
      identifier = wire.controlPlane.identifier
    }
  }
}

extension Google_Protobuf_Duration {
  /// Of a time to live: what is not positive is over at once, and what is very long, at the bound.
  fileprivate var clampedMilliseconds: UInt64 {
    guard seconds >= 0, nanos >= 0 else { return 0 }
    let whole = min(UInt64(seconds), XDSLimits.longestSeconds) * 1000
    return whole + UInt64(nanos) / 1_000_000
  }
}

/// What bounds, and marks, what we say to a control plane, and what we take of it.
enum XDSLimits {
  /// A hundred years: nobody means more, and sums with it stay far from the end of the numbers.
  static let longestSeconds: UInt64 = 3_155_760_000

  /// Bytes of one resource that is kept on disk: the largest message of the stream that it came by.
  static let storedBytes = 64 << 20

  /// `INTERNAL`, with which Envoy refuses an answer, and by which servers may know a refusal.
  static let refusalCode: Int32 = 13

  /// Bytes of a refusal's reasons: Envoy's bound. They are for people, and of a configuration with
  /// thousands of mistakes the first ones will do.
  static let refusalBytes = 4096

  /// The reasons, cut where the bound is.
  static func shorten(_ reason: String) -> String {
    guard reason.utf8.count > refusalBytes else { return reason }
    return String(decoding: reason.utf8.prefix(refusalBytes), as: UTF8.self) + "...(truncated)"
  }
}
