import MeshModel

/// Finds those that a selector selects without asking everybody: by the rarest of its labels.
struct LabelIndex {
  private struct Key: Hashable {
    let namespace: String
    let label: String
    let value: String
  }

  private let all: [(namespace: String, labels: [String: String])]
  private var byLabel: [Key: [Int]] = [:]
  private var byNamespace: [String: [Int]] = [:]

  init(_ all: [(namespace: String, labels: [String: String])]) {
    self.all = all
    for (place, one) in all.enumerated() {
      byNamespace[one.namespace, default: []].append(place)
      for (label, value) in one.labels {
        byLabel[Key(namespace: one.namespace, label: label, value: value), default: []]
          .append(place)
      }
    }
  }

  /// The places of those that have all labels; an empty selector selects everybody.
  /// - Parameter namespace: nil: of all.
  func places(in namespace: String?, with selector: [String: String]) -> [Int] {
    guard let namespace else {
      return byNamespace.keys.sorted().flatMap { places(in: $0, with: selector) }
    }
    var shortest: [Int]?
    for (label, value) in selector {
      let found = byLabel[Key(namespace: namespace, label: label, value: value)] ?? []
      if found.count < shortest?.count ?? .max { shortest = found }
    }
    let candidates = shortest ?? byNamespace[namespace] ?? []
    return candidates.filter { all[$0].labels.contains(labels: selector) }
  }
}
