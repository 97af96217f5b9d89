import CLinux

/// A worker's own pseudo-random numbers (xoshiro256**), seeded from the system once. For balancing,
/// sampling and jitter; never for secrets.
@usableFromInline
package struct Random: BitwiseCopyable {
  @usableFromInline var s0: UInt64 = 0
  @usableFromInline var s1: UInt64 = 0
  @usableFromInline var s2: UInt64 = 0
  @usableFromInline var s3: UInt64 = 0

  package init() {
    // SAFETY: the calls fill exactly the eight bytes they are lent.
    unsafe fl_fill_random(&s0, 8)
    unsafe fl_fill_random(&s1, 8)
    unsafe fl_fill_random(&s2, 8)
    unsafe fl_fill_random(&s3, 8)
    if s0 | s1 | s2 | s3 == 0 { s0 = 1 }
  }

  package init(seed: UInt64) {
    // SplitMix64 spreads a small seed over the state.
    var x = seed
    func next() -> UInt64 {
      x &+= 0x9E37_79B9_7F4A_7C15
      var z = x
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
    s0 = next()
    s1 = next()
    s2 = next()
    s3 = next()
  }

  @inlinable
  package mutating func next() -> UInt64 {
    let product = s1 &* 5
    let result = ((product << 7) | (product >> 57)) &* 9
    let t = s1 << 17
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= t
    s3 = (s3 << 45) | (s3 >> 19)
    return result
  }

  /// A number from 0 up to `bound`, which must be positive.
  package mutating func next(below bound: UInt64) -> UInt64 {
    precondition(bound > 0, "a positive bound")
    return next().multipliedFullWidth(by: bound).high
  }
}
