import Engine

/// How a route looks at the path, without its query.
package enum PathPattern: BitwiseCopyable {
  case exact(Bytes)
  case prefix(Bytes)
  /// A prefix that ends where the path ends or a slash follows.
  case separatedPrefix(Bytes)
  case regex(Regex)

  /// Whether a path starts as this asks, or is it. The rest of a separated prefix, and expressions,
  /// are left to `RouteConditions.accept`, as they are by the index.
  @inline(__always)
  func mayMatch(_ path: Bytes, isCaseSensitive: Bool) -> Bool {
    switch self {
    case .exact(let text):
      return isCaseSensitive ? path == text : path.equalsIgnoringCase(text)
    case .prefix(let text), .separatedPrefix(let text):
      return isCaseSensitive ? path.hasPrefix(text) : path.hasPrefixIgnoringCase(text)
    case .regex: return true
    }
  }
}

/// Finds the first route of a virtual host that matches, looking only at those whose path can. Worth
/// its while for more than a few.
///
/// Exact paths and prefixes are found by hash, so their number does not matter; only routes by
/// regular expression are tried one after the other. The order of the configuration decides among
/// all that match: a route counts only if none before it does.
struct RouteIndex: BitwiseCopyable {
  /// Routes with the same path, in order: a range of `orders`.
  private struct Group: BitwiseCopyable {
    var start: Int
    var count: Int
  }

  /// So many routes are tried one after the other faster than one of them is found by hash.
  static let fewRoutes = 4

  private let exact: ByteIndex
  private let exactFolded: ByteIndex
  private let prefixes: ByteIndex
  private let prefixesFolded: ByteIndex
  private let groups: Table<Group>
  private let orders: Table<UInt32>
  /// Routes by regular expression, in order.
  private let regexes: Table<UInt32>

  /// - Parameter patterns: one for each route, in order, and whether letters' case matters.
  init(_ patterns: [(pattern: PathPattern, isCaseSensitive: Bool)]) {
    var tables = [TableBuilder](repeating: TableBuilder(), count: 4)
    var regexes: [UInt32] = []
    for (order, (pattern, isCaseSensitive)) in patterns.enumerated() {
      let order = UInt32(order)
      let fold = isCaseSensitive ? 0 : 1
      switch pattern {
      case .exact(let path): tables[fold].add(path, order, folding: !isCaseSensitive)
      case .prefix(let path), .separatedPrefix(let path):
        tables[2 + fold].add(path, order, folding: !isCaseSensitive)
      case .regex: regexes.append(order)
      }
    }
    var groups: [Group] = []
    var orders: [UInt32] = []
    let indexes = tables.enumerated().map { position, table in
      var values: [(key: Bytes, value: UInt32)] = []
      for (key, members) in table.groups {
        values.append((key, UInt32(groups.count)))
        groups.append(Group(start: orders.count, count: members.count))
        orders += members
      }
      return ByteIndex(values, ignoresCase: position % 2 == 1)
    }
    exact = indexes[0]
    exactFolded = indexes[1]
    prefixes = indexes[2]
    prefixesFolded = indexes[3]
    self.groups = Table.configured(groups)
    self.orders = Table.configured(orders)
    self.regexes = Table.configured(regexes)
  }

  /// The position of the first route that `accepts`, among those whose path may match `path`.
  @inline(__always)
  func first(for path: Bytes, where accepts: (Int) -> Bool) -> Int? {
    var best = Int.max
    if let group = exact.find(path) { search(group, &best, accepts) }
    if let group = exactFolded.find(path) { search(group, &best, accepts) }
    prefixes.forEachAffix(of: path) { _, group in search(group, &best, accepts) }
    prefixesFolded.forEachAffix(of: path) { _, group in search(group, &best, accepts) }
    var index = 0
    // Last, so that expressions behind the best candidate are never run.
    while index < regexes.count, Int(regexes[index]) < best {
      if accepts(Int(regexes[index])) { best = Int(regexes[index]) }
      index &+= 1
    }
    return best == .max ? nil : best
  }

  /// Moves `best` forward to the group's first acceptable route, if that comes earlier.
  @inline(__always)
  private func search(_ group: UInt32, _ best: inout Int, _ accepts: (Int) -> Bool) {
    let group = groups[Int(group)]
    var index = group.start
    while index < group.start &+ group.count, Int(orders[index]) < best {
      if accepts(Int(orders[index])) {
        best = Int(orders[index])
        return
      }
      index &+= 1
    }
  }

  private struct TableBuilder {
    private(set) var groups: [(key: Bytes, members: [UInt32])] = []
    private var places: [[UInt8]: Int] = [:]

    mutating func add(_ path: Bytes, _ order: UInt32, folding: Bool) {
      let key = (0..<path.count).map { folding ? ASCII.lower(path[$0]) : path[$0] }
      if let place = places[key] {
        groups[place].members.append(order)
      } else {
        places[key] = groups.count
        groups.append((path, [order]))
      }
    }
  }
}
