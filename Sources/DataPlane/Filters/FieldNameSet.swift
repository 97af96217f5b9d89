import Engine
import HTTPModel
import Routing

/// Names of fields that a filter asks a head for all at once.
struct FieldNameSet: BitwiseCopyable {
  private let known: HeaderIDSet
  /// Those that have no id.
  private let others: Table<HeaderName>

  init(_ names: [HeaderName]) {
    var known = HeaderIDSet()
    for name in names where name.id != .other { known = known | name.id }
    self.known = known
    others = .configured(names.filter { $0.id == .other })
  }

  /// False is certain.
  @inline(__always)
  func mayBe(in head: borrowing HeaderMap) -> Bool {
    if head.mayHave(anyOf: known) { return true }
    var index = 0
    while index < others.count {
      if head.find(others[index].text, id: .other) != nil { return true }
      index &+= 1
    }
    return false
  }
}
