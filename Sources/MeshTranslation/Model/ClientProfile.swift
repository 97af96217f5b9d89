import MeshModel
import SwiftProtobuf

/// What one kind of client understands. What it does not, it is not told; the rule that asked for it is
/// noted, so that its author can be told instead.
struct ClientProfile: Sendable {
  /// Balancers besides round robin.
  var balancesByLeastRequest = true
  var balancesByRandom = true
  /// Ring hash and Maglev.
  var balancesByHash = true
  var detectsOutliers = true
  /// Localities with weights and priorities.
  var weighsLocalities = true
  /// Metadata of clusters.
  var readsMetadata = true
  /// TLS by what an endpoint's metadata says.
  var matchesSockets = true
  var answersCORS = true
  /// JSON web tokens.
  var checksTokens = true
  /// The Common Expression Language, and what else only Envoy knows in access logs.
  var evaluatesExpressions = true
  /// Listeners, addresses, filters: it is a proxy, and not a library in a program.
  var isProxy = true

  static let envoy = ClientProfile()

  static let fairlead = ClientProfile(
    balancesByHash: false, detectsOutliers: false, weighsLocalities: false, readsMetadata: false,
    answersCORS: false, checksTokens: false, evaluatesExpressions: false)

  /// gRPC's library; seen with grpcio 1.85.
  static let grpc = ClientProfile(
    balancesByLeastRequest: false, balancesByRandom: false, detectsOutliers: true,
    readsMetadata: false, matchesSockets: false, answersCORS: false, checksTokens: false,
    evaluatesExpressions: false, isProxy: false)

  static func of(_ client: ProxyNode.Client) -> ClientProfile {
    switch client {
    case .fairlead: .fairlead
    case .envoy: .envoy
    case .grpc: .grpc
    }
  }
}

/// What a client is not told, though a rule asks for it.
package struct Omission: Hashable, Sendable, Comparable {
  /// Whose rule it is.
  package let object: ObjectID
  /// The field, such as `trafficPolicy.outlierDetection`.
  package let field: String
  /// What happens instead.
  package let effect: String

  package static func < (one: Omission, other: Omission) -> Bool {
    (one.object, one.field) < (other.object, other.field)
  }
}

/// Collects what is left out while resources are made.
final class OmissionNotes {
  private(set) var all: Set<Omission> = []

  func note(_ object: ObjectID, _ field: String, _ effect: String) {
    all.insert(Omission(object: object, field: field, effect: effect))
  }
}

extension Message {
  /// The message with its maps in the order of their keys: the same content always gives the same bytes,
  /// and what has not changed has the same version.
  package func steadyBytes() throws -> [UInt8] {
    var options = BinaryEncodingOptions()
    options.useDeterministicOrdering = true
    return try serializedBytes(options: options)
  }

  /// The same message with another's fields besides: those that our model of Envoy's does not have.
  func adding(_ more: some Message) -> Self {
    guard let mine = try? steadyBytes(), let others = try? more.steadyBytes(), !others.isEmpty,
      let whole = try? Self(serializedBytes: mine + others)
    else { return self }
    return whole
  }

  /// The message in an `Any`.
  var packed: Google_Protobuf_Any { packed(as: Self.protoMessageName) }

  /// The message in an `Any` of another name: that of which it is a part.
  func packed(as name: String) -> Google_Protobuf_Any {
    let bytes = (try? steadyBytes()) ?? []
    return .with {
      $0.typeURL = "type.googleapis.com/" + name
      $0.value = .init(bytes)
    }
  }
}

extension Google_Protobuf_Struct {
  /// A struct with one entry, which is text.
  init(_ name: String, _ text: String) {
    self.init()
    fields[name] = .with { $0.stringValue = text }
  }
}
