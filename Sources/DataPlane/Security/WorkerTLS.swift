import Engine
import TLS

/// What one worker knows of TLS: a place for each configuration, and why handshakes failed.
struct WorkerTLS {
  /// By number.
  var places: Table<Ref<TLSPlace>> = .empty
  /// The number of each cluster's; -1 for plain bytes.
  var byCluster: Table<Int32> = .empty
  private var reasons: [Bytes] = []

  /// Different reasons kept. What can go wrong is a list of OpenSSL's and shorter than this; a peer
  /// that finds more ways gets the same word for the rest.
  private static let reasonLimit = 256

  /// The place for a cluster's connections; nil for plain bytes.
  func place(ofCluster index: Int) -> Ref<TLSPlace>? {
    guard index < byCluster.count, byCluster[index] >= 0 else { return nil }
    return places[Int(byCluster[index])]
  }

  /// A number that stands for a reason where an errno would: negative, so that the two do not meet.
  mutating func errorNumber(for reason: String) -> Int32 {
    let text = "TLS error: \(reason)"
    let place = reasons.firstIndex { $0.string == text }
    if let place { return -Int32(place) - 1 }
    guard reasons.count < Self.reasonLimit else { return -Int32(Self.reasonLimit) - 1 }
    reasons.append(.immortal(text))
    return -Int32(reasons.count)
  }

  /// The reason behind such a number.
  func reason(_ number: Int32) -> Bytes {
    let place = Int(-(number + 1))
    return reasons.indices.contains(place) ? reasons[place] : Bytes("TLS error")
  }
}
