import CLinux
import Engine
import TLS

/// What one worker knows of TLS: a place for each configuration, and why handshakes failed.
struct WorkerTLS {
  var places = TLSPlaces()
  private var reasons: [Bytes] = []

  /// Different reasons kept. What can go wrong is a list of OpenSSL's and shorter than this; a peer
  /// that finds more ways gets the same word for the rest.
  private static let reasonLimit = 256

  /// The place for a cluster's connections; nil for plain bytes.
  /// - Parameter security: the number in its configuration.
  func place(ofCluster security: Int32) -> Ref<TLSPlace>? {
    security < 0 ? nil : places[Int(security)]
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

  /// The error of a client's connection that `SecureHandle` did not make.
  mutating func refusal(ofCluster security: Int32) -> Int32 {
    guard let place = place(ofCluster: security), place.value.context == nil else { return ENOMEM }
    return errorNumber(for: "Secret is not supplied by SDS")
  }

  /// The reason behind such a number.
  func reason(_ number: Int32) -> Bytes {
    let place = Int(-(number + 1))
    return reasons.indices.contains(place) ? reasons[place] : Bytes("TLS error")
  }
}

/// A worker's places, by the numbers of the TLS configurations.
struct TLSPlaces {
  private var all: [Ref<TLSPlace>?] = []

  /// The place of a number that a cluster or a chain in use has.
  subscript(number: Int) -> Ref<TLSPlace> {
    guard all.indices.contains(number), let place = all[number] else {
      preconditionFailure("a TLS configuration that is in use has a place")
    }
    return place
  }

  mutating func set(_ place: Ref<TLSPlace>, at number: Int) {
    while all.count <= number { all.append(nil) }
    all[number] = place
  }

  /// The configuration is no more, and no connection of it is left.
  mutating func remove(_ number: Int) {
    guard all.indices.contains(number) else { return }
    all[number]?.destroy()
    all[number] = nil
  }
}
