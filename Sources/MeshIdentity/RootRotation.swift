/// When our own root is replaced by another, so that at every moment everybody trusts whoever signs.
///
/// A new root is first only *announced*: it is in what workloads are told to trust, and signs nothing.
/// Certificates are renewed at half of their life, so after the longest life of a certificate everybody
/// knows it. Then it *signs*, and the old one stays trusted until it expires. Told the time, this says
/// what to do, and does nothing.
package struct RootRotation: Equatable {
  package enum Step: Equatable {
    case none
    /// Make the next root, and have it trusted.
    case announce
    /// The next root signs from now on.
    case promote
  }

  /// The part of a root's life, counted from its end, in which its successor is announced.
  package static let part = 5

  package var notBefore: Int
  package var notAfter: Int
  /// When the next root was announced; nil: there is none.
  package var announced: Int?

  package init(notBefore: Int, notAfter: Int, announced: Int?) {
    self.notBefore = notBefore
    self.notAfter = notAfter
    self.announced = announced
  }

  /// - Parameter longest: seconds that a certificate lasts at most.
  package func step(at now: Int, longest: Int) -> Step {
    if let announced {
      // A root that is about to expire vouches for nobody any more: what waits has no use.
      return now - announced >= longest || now >= notAfter - longest / 10 ? .promote : .none
    }
    let remaining = notAfter - now
    let margin = max((notAfter - notBefore) / Self.part, 2 * longest)
    return remaining <= min(margin, (notAfter - notBefore) / 2) ? .announce : .none
  }
}
