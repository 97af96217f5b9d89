/// Finds the name that was probably meant.
package enum Suggestion {
  /// The candidate nearest to a misspelt name, if one is near.
  package static func nearest(to name: String, among candidates: some Sequence<String>) -> String? {
    let wanted = Array(name.utf8.prefix(longestName))
    // A third of the letters may be wrong: more, and the guess misleads.
    var best: (candidate: String, distance: Int)?
    for candidate in candidates {
      let length = min(candidate.utf8.count, longestName)
      let bound = min(best?.distance ?? .max, max(1, min(wanted.count, length) / 3) + 1)
      guard abs(length - wanted.count) < bound else { continue }
      let distance = distance(wanted, Array(candidate.utf8.prefix(longestName)))
      if distance < bound { best = (candidate, distance) }
    }
    return best?.candidate
  }

  /// `; did you mean 'x'?`, or nothing.
  package static func phrase(for name: String, among candidates: some Sequence<String>) -> String {
    nearest(to: name, among: candidates).map { "; did you mean '\($0)'?" } ?? ""
  }

  /// No name of the API is longer, and the distance takes the product of two lengths.
  private static let longestName = 128

  /// Edits between two names: insertions, deletions, replacements, and swaps of neighbours.
  private static func distance(_ one: [UInt8], _ other: [UInt8]) -> Int {
    var before = [Int](repeating: 0, count: other.count + 1)
    var previous = Array(0...other.count)
    var current = before
    for row in 0..<one.count {
      current[0] = row + 1
      for column in 0..<other.count {
        let replaced = previous[column] + (lower(one[row]) == lower(other[column]) ? 0 : 1)
        current[column + 1] = min(replaced, previous[column + 1] + 1, current[column] + 1)
        if row > 0, column > 0, one[row] == other[column - 1], one[row - 1] == other[column] {
          current[column + 1] = min(current[column + 1], before[column - 1] + 1)
        }
      }
      // The oldest row makes way for the next.
      swap(&before, &previous)
      swap(&previous, &current)
    }
    return previous[other.count]
  }

  private static func lower(_ byte: UInt8) -> UInt8 {
    byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte + 32 : byte
  }
}
