/// How two texts differ, line by line, as `diff -u` shows it.
package enum LineDifference {
  /// Lines around a change.
  private static let context = 3
  /// Edits that are looked for. Texts that differ by more share too little to be shown side by side,
  /// and the search takes time by their square.
  private static let edits = 2000

  private enum Edit: Equatable {
    case same(String)
    case removed(String)
    case added(String)

    var line: String {
      switch self {
      case .same(let text): " " + text
      case .removed(let text): "-" + text
      case .added(let text): "+" + text
      }
    }

    var isSame: Bool { if case .same = self { true } else { false } }
  }

  /// The changed lines with what stands around them; empty when the texts are alike.
  package static func text(_ old: String, _ new: String) -> String {
    let left = old.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    let right = new.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    let all = edits(left, right)
    var shown = [Bool](repeating: false, count: all.count)
    for (index, edit) in all.enumerated() where !edit.isSame {
      for near in max(0, index - context)...min(all.count - 1, index + context) {
        shown[near] = true
      }
    }
    var out = ""
    var wasShown = true
    for (index, edit) in all.enumerated() {
      if shown[index] { out += (wasShown || out.isEmpty ? "" : "...\n") + edit.line + "\n" }
      wasShown = shown[index]
    }
    return out
  }

  /// The shortest way from one to the other: E. Myers, "An O(ND) Difference Algorithm" (1986).
  private static func edits(_ left: [String], _ right: [String]) -> [Edit] {
    let bound = min(left.count + right.count, edits)
    var reached = [0: 0]
    var trail: [[Int: Int]] = []
    for depth in 0...bound {
      trail.append(reached)
      var next: [Int: Int] = [:]
      for diagonal in stride(from: -depth, through: depth, by: 2) {
        var x = start(of: diagonal, depth: depth, reached)
        while x < left.count, x - diagonal < right.count, x - diagonal >= 0,
          left[x] == right[x - diagonal]
        {
          x += 1
        }
        next[diagonal] = x
        if x >= left.count, x - diagonal >= right.count {
          return walk(back: trail, left, right)
        }
      }
      reached = next
    }
    return left.map { .removed($0) } + right.map { .added($0) }
  }

  /// How far a diagonal begins, with one edit more than its neighbours have.
  private static func start(of diagonal: Int, depth: Int, _ reached: [Int: Int]) -> Int {
    guard depth > 0 else { return 0 }
    return isDown(diagonal, depth, reached)
      ? reached[diagonal + 1] ?? 0 : (reached[diagonal - 1] ?? 0) + 1
  }

  private static func isDown(_ diagonal: Int, _ depth: Int, _ reached: [Int: Int]) -> Bool {
    diagonal == -depth
      || diagonal != depth && (reached[diagonal - 1] ?? -1) < (reached[diagonal + 1] ?? -1)
  }

  private static func walk(back trail: [[Int: Int]], _ left: [String], _ right: [String]) -> [Edit]
  {
    var edits: [Edit] = []
    var (x, y) = (left.count, right.count)
    for depth in stride(from: trail.count - 1, through: 0, by: -1) {
      let reached = trail[depth]
      let diagonal = x - y
      let from = isDown(diagonal, depth, reached) ? diagonal + 1 : diagonal - 1
      let fromX = depth == 0 ? 0 : reached[from] ?? 0
      let fromY = depth == 0 ? 0 : fromX - from
      while x > fromX, y > fromY {
        x -= 1
        y -= 1
        edits.append(.same(left[x]))
      }
      guard depth > 0 else { break }
      if x == fromX {
        y -= 1
        edits.append(.added(right[y]))
      } else {
        x -= 1
        edits.append(.removed(left[x]))
      }
    }
    return edits.reversed()
  }
}
