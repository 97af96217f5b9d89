/// One document, read: a tree of scalars, sequences and mappings that knows where each part stood.
///
/// An alias is the very node that its anchor named, so a document with aliases is a graph without
/// cycles; `YAMLLimits.aliasedNodes` bounds what walking it costs.
struct YAMLDocument {
  struct Node {
    enum Kind { case scalar, sequence, mapping }

    let kind: Kind
    let mark: YAMLMark
    /// A scalar's text, without quotes.
    let text: String
    /// Whether a scalar stood without quotes, and may so be more than a string.
    let isPlain: Bool
    /// Items; for a mapping key, value, key, value.
    let children: Range<Int>
    /// The nodes below and including this one, aliases counted as what they stand for, and long texts as
    /// several.
    let weight: Int
    /// Levels of sequences and mappings, this one included.
    let height: Int
  }

  private(set) var nodes: [Node] = []
  private var children: [Int] = []
  /// The outermost node; none if the document is empty.
  private(set) var root: Int?

  /// The children of a node, by index.
  func children(of node: Int) -> ArraySlice<Int> { children[nodes[node].children] }

  /// Reads a document.
  init(_ bytes: [UInt8]) throws(YAMLSyntaxError) {
    var events = try Self.events(of: bytes)
    var builder = Builder()
    while true {
      let event = try events.next()
      if case .streamEnd = event { break }
      if case .documentStart = event { try builder.refuseAnother(events.mark) }
      try builder.take(event, anchor: events.anchor, tag: events.tag, mark: events.mark)
    }
    self.init(builder)
  }

  private init(_ builder: Builder) {
    nodes = builder.nodes
    children = builder.children
    root = builder.root
  }

  /// Reads all documents of a file, those that are empty left out. Anchors count in their own document.
  static func all(_ bytes: [UInt8]) throws(YAMLSyntaxError) -> [YAMLDocument] {
    var events = try events(of: bytes)
    var documents: [YAMLDocument] = []
    var builder = Builder()
    while true {
      let event = try events.next()
      if case .documentEnd = event {
        if builder.root != nil { documents.append(YAMLDocument(builder)) }
        builder = Builder()
        continue
      }
      if case .streamEnd = event { return documents }
      try builder.take(event, anchor: events.anchor, tag: events.tag, mark: events.mark)
    }
  }

  private static func events(of bytes: [UInt8]) throws(YAMLSyntaxError) -> YAMLEventStream {
    guard bytes.count <= YAMLLimits.bytes else {
      throw YAMLSyntaxError(
        mark: YAMLMark(line: 1, column: 1),
        message: "larger than the limit of \(YAMLLimits.bytes) bytes")
    }
    return try YAMLEventStream(bytes)
  }
}

extension YAMLDocument {
  /// Turns events into nodes. It is told what the parser met and holds what is not yet closed.
  private struct Builder {
    var nodes: [Node] = []
    var children: [Int] = []
    var root: Int?
    private var documents = 0
    private var open: [(kind: Node.Kind, mark: YAMLMark, anchor: String?, items: [Int])] = []
    private var anchors: [String: Int] = [:]
    private var aliasedNodes = 0

    mutating func take(
      _ event: YAMLEvent, anchor: String?, tag: String?, mark: YAMLMark
    ) throws(YAMLSyntaxError) {
      if let tag, !Self.knownTags.contains(tag) {
        throw YAMLSyntaxError(mark: mark, message: "tags are not supported, found '\(tag)'")
      }
      switch event {
      case .documentStart, .documentEnd, .streamEnd: break
      case .alias(let name): try takeAlias(name, mark: mark)
      case .scalar(let text, let isPlain):
        let isString = !isPlain || tag == "tag:yaml.org,2002:str" || tag == "!"
        let node = Node(
          kind: .scalar, mark: mark, text: text, isPlain: !isString, children: 0..<0,
          weight: 1 + text.utf8.count / 32, height: 0)
        add(node, anchor: anchor)
      case .sequenceStart: try push(.sequence, anchor: anchor, mark: mark)
      case .mappingStart: try push(.mapping, anchor: anchor, mark: mark)
      case .end: close()
      }
    }

    /// Where one document is expected, a second begins.
    mutating func refuseAnother(_ mark: YAMLMark) throws(YAMLSyntaxError) {
      documents += 1
      guard documents == 1 else {
        throw YAMLSyntaxError(mark: mark, message: "expected one document, found another")
      }
    }

    /// The core schema's own tags say nothing new; `!` and `!!str` make a string of a plain scalar.
    private static let knownTags: Set<String> = [
      "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq",
    ]

    private mutating func push(
      _ kind: Node.Kind, anchor: String?, mark: YAMLMark
    ) throws(YAMLSyntaxError) {
      guard open.count < YAMLLimits.depth else { throw tooDeep(mark) }
      // An anchor counts once its node is complete: a node cannot contain itself.
      if let anchor { anchors[anchor] = nil }
      open.append((kind, mark, anchor, []))
    }

    private mutating func close() {
      guard let closed = open.popLast() else { return }
      let start = children.count
      children += closed.items
      var weight = 1
      var height = 0
      for item in closed.items {
        weight += nodes[item].weight
        height = max(height, nodes[item].height)
      }
      add(
        Node(
          kind: closed.kind, mark: closed.mark, text: "", isPlain: false,
          children: start..<children.count, weight: weight, height: height + 1),
        anchor: closed.anchor)
    }

    private mutating func add(_ node: Node, anchor: String?) {
      let index = nodes.count
      nodes.append(node)
      if let anchor { anchors[anchor] = index }
      place(index)
    }

    private mutating func takeAlias(_ name: String, mark: YAMLMark) throws(YAMLSyntaxError) {
      guard let node = anchors[name] else {
        throw YAMLSyntaxError(mark: mark, message: "no anchor '\(name)' before this alias")
      }
      // No weight overflows: each alias is refused before it adds more than the limit.
      aliasedNodes += nodes[node].weight
      guard aliasedNodes <= YAMLLimits.aliasedNodes else {
        throw YAMLSyntaxError(
          mark: mark,
          message: "aliases stand for more than the limit of \(YAMLLimits.aliasedNodes) nodes")
      }
      guard open.count + nodes[node].height <= YAMLLimits.depth else { throw tooDeep(mark) }
      place(node)
    }

    private mutating func place(_ node: Int) {
      if open.isEmpty {
        root = node
      } else {
        open[open.count - 1].items.append(node)
      }
    }

    private func tooDeep(_ mark: YAMLMark) -> YAMLSyntaxError {
      YAMLSyntaxError(
        mark: mark, message: "nested deeper than the limit of \(YAMLLimits.depth) levels")
    }
  }
}
