/// The place of every cluster name that something speaks of, whether there is such a cluster or not:
/// routes and clusters come and go one by one, and find each other here. Main thread.
///
/// A name keeps its place for as long as somebody holds it; then the place goes to the next name.
package final class ClusterPlaces {
  private var places: [String: Int] = [:]
  private var names: [String] = []
  private var holders: [Int] = []
  private var free: [Int] = []

  package init() {}

  /// One more than the highest place in use.
  package var count: Int { names.count }

  /// The place of a name, for somebody who gives it back with `release`.
  package func hold(_ name: String) -> Int {
    if let known = places[name] {
      holders[known] += 1
      return known
    }
    let place = free.popLast() ?? names.count
    if place == names.count {
      names.append(name)
      holders.append(1)
    } else {
      names[place] = name
      holders[place] = 1
    }
    places[name] = place
    return place
  }

  /// Undoes one `hold`.
  package func release(_ place: Int) {
    guard holders.indices.contains(place), holders[place] > 0 else { return }
    holders[place] -= 1
    guard holders[place] == 0 else { return }
    places[names[place]] = nil
    free.append(place)
  }

  /// The place of a name that somebody holds.
  package func place(of name: String) -> Int? { places[name] }
}
