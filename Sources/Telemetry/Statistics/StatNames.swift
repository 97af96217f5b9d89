/// The names of one type of statistic and the places that belong to them. Main thread only.
struct StatNames {
  /// By place; an empty name marks a place that waits for its next use.
  private(set) var names: [String] = [""]
  private var places: [String: UInt32] = [:]
  private var free: [UInt32] = []

  /// How many places were ever used, the discarding one included.
  var count: Int { names.count }

  func place(of name: String) -> UInt32? { places[name] }

  /// A place for a new name, or nil when `capacity` are taken.
  mutating func add(_ name: String, capacity: UInt32) -> UInt32? {
    let place: UInt32
    if let reused = free.popLast() {
      place = reused
      names[Int(reused)] = name
    } else {
      guard names.count < Int(capacity) else { return nil }
      place = UInt32(names.count)
      names.append(name)
    }
    places[name] = place
    return place
  }

  /// Forgets the names for which `condition` holds; returns their places.
  mutating func remove(where condition: (String) -> Bool) -> [UInt32] {
    var removed: [UInt32] = []
    for (index, name) in names.enumerated() where !name.isEmpty && condition(name) {
      places[name] = nil
      names[index] = ""
      removed.append(UInt32(index))
    }
    free.append(contentsOf: removed)
    return removed
  }

  /// A name as Envoy would store it: no colons, and no dots at its ends.
  static func sanitized(_ name: String) -> String {
    guard
      name.utf8.contains(UInt8(ascii: ":")) || name.utf8.contains(0)
        || name.utf8.first == UInt8(ascii: ".") || name.utf8.last == UInt8(ascii: ".")
    else { return name }
    var bytes: [UInt8] = []
    var rest = Array(name.utf8)[...]
    while rest.first == UInt8(ascii: ".") { rest.removeFirst() }
    while rest.last == UInt8(ascii: ".") { rest.removeLast() }
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: ":") || byte == 0 else {
        bytes.append(byte)
        continue
      }
      bytes.append(UInt8(ascii: "_"))
      // "://" and "::" become one underscore each.
      if byte == 0 { continue }
      if rest.starts(with: "//".utf8) {
        rest.removeFirst(2)
      } else if rest.first == byte {
        rest.removeFirst()
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
