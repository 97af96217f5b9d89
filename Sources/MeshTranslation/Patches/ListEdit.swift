import MeshMessages
import MeshModel

/// One operation on a list of filters or routes.
struct ListEdit<Item> {
  let operation: EnvoyFilter.Patch.Operation
  /// What is put there.
  let item: Item
  /// The patch says which item it is about.
  let hasMatch: Bool
  let matches: (Item) -> Bool

  /// Does it; false when there was nothing to do.
  /// - Parameter end: where what is added goes: in front of what has to be last.
  func apply(to list: inout [Item], end: Int) -> Bool {
    let place = list.firstIndex(where: matches)
    switch operation {
    case .add: list.insert(item, at: end)
    case .insertFirst: list.insert(item, at: 0)
    case .insertAfter:
      guard hasMatch else {
        list.insert(item, at: end)
        break
      }
      guard let place else { return false }
      list.insert(item, at: min(place + 1, max(end, place)))
    case .insertBefore:
      guard hasMatch else {
        list.insert(item, at: 0)
        break
      }
      guard let place else { return false }
      list.insert(item, at: place)
    case .replace:
      guard hasMatch, let place else { return false }
      list[place] = item
    case .remove:
      guard hasMatch, place != nil else { return false }
      list.removeAll(where: matches)
    case .merge, .mergeAndReplaceList, .invalid, .UNRECOGNIZED: return false
    }
    return true
  }
}
