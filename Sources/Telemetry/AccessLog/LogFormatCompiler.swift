import Glibc

/// Turns format strings and JSON trees into operations.
struct LogFormatCompiler {
  /// What a `LogFormat` is made of.
  struct Product {
    var ops: [LogOp] = []
    var pieces: [TimePiece] = []
    var arena: [UInt8] = []
    var omitsEmptyValues = false
    var literalBytes = 0
    var valueCount = 0
  }

  let options: LogFormatOptions
  var product = Product()

  init(_ options: LogFormatOptions) {
    self.options = options
    product.omitsEmptyValues = options.omitEmptyValues
  }

  /// Checks the bounds of what has been compiled.
  func finish() throws(LogFormatError) -> Product {
    guard product.arena.count <= options.literalBytes else {
      throw LogFormatError(
        "the format has \(product.arena.count) bytes of text; at most \(options.literalBytes)"
          + " are allowed")
    }
    return product
  }

  mutating func compileText(_ format: String) throws(LogFormatError) {
    for part in try LogFormatParser.parse(format) {
      switch part {
      case .text(let text): appendLiteral(text)
      case .command(let command): try append(command, mode: .text)
      }
    }
  }

  // MARK: JSON

  mutating func compileJSON(_ tree: LogJSON) throws(LogFormatError) {
    guard case .object(let members) = tree else {
      throw LogFormatError("a JSON format has to be an object")
    }
    appendLiteral([UInt8(ascii: "{")])
    try appendMembers(members, depth: 1)
    appendLiteral(Array("}\n".utf8))
  }

  private mutating func appendMembers(
    _ members: [(String, LogJSON)], depth: Int
  ) throws(LogFormatError) {
    for (name, value) in members.sorted(by: { $0.0 < $1.0 }) {
      if case .null = value, options.omitEmptyValues { continue }
      var text: [UInt8] = []
      text.appendJSON(name)
      text.append(UInt8(ascii: ":"))
      var key = LogOp(.key)
      key.first = store(text)
      product.ops.append(key)
      product.literalBytes += text.count + 1
      try append(value, keyBytes: UInt32(text.count), depth: depth)
    }
  }

  private mutating func append(
    _ value: LogJSON, keyBytes: UInt32, depth: Int
  ) throws(LogFormatError) {
    guard depth < options.depth else {
      throw LogFormatError("the JSON format is nested deeper than \(options.depth)")
    }
    switch value {
    case .string(let format): try appendString(format, keyBytes: keyBytes)
    case .number(let number):
      guard number.isFinite else { throw LogFormatError("a JSON number has to be finite") }
      appendLiteral(Array(NumberText.shortest(number).utf8))
    case .bool(let flag): appendLiteral(Array((flag ? "true" : "false").utf8))
    case .null: appendLiteral(Array("null".utf8))
    case .list(let elements):
      appendLiteral([UInt8(ascii: "[")])
      for element in elements {
        if case .null = element, options.omitEmptyValues { continue }
        product.ops.append(LogOp(.element))
        try append(element, keyBytes: 0, depth: depth + 1)
      }
      appendLiteral([UInt8(ascii: "]")])
    case .object(let members):
      appendLiteral([UInt8(ascii: "{")])
      try appendMembers(members, depth: depth + 1)
      var end = LogOp(.objectEnd)
      end.keyBytes = keyBytes
      product.ops.append(end)
    }
  }

  private mutating func appendString(
    _ format: String, keyBytes: UInt32
  ) throws(LogFormatError) {
    let parts = try LogFormatParser.parse(format)
    if parts.count == 1, case .command(let command) = parts[0] {
      return try append(command, mode: .jsonValue, keyBytes: keyBytes)
    }
    appendLiteral([UInt8(ascii: "\"")])
    for part in parts {
      switch part {
      case .text(let text):
        var quoted: [UInt8] = []
        quoted.appendJSON(String(decoding: text, as: UTF8.self))
        appendLiteral(Array(quoted.dropFirst().dropLast()))
      case .command(let command): try append(command, mode: .jsonString)
      }
    }
    appendLiteral([UInt8(ascii: "\"")])
  }

  // MARK: Operations

  private mutating func append(
    _ command: LogFormatParser.Command, mode: LogOp.Mode, keyBytes: UInt32 = 0
  ) throws(LogFormatError) {
    if let fixed = try command.fixedText() {
      return appendFixed(fixed, mode: mode, keyBytes: keyBytes)
    }
    var op = try makeOp(for: command)
    op.mode = mode
    op.keyBytes = keyBytes
    op.limit = command.length ?? LogOp.noLimit
    product.ops.append(op)
    product.valueCount += 1
  }

  /// A value that is known now: the machine's name, a variable of the environment.
  private mutating func appendFixed(
    _ text: LogFormatParser.FixedText, mode: LogOp.Mode, keyBytes: UInt32
  ) {
    guard let value = text.value else {
      var absent = LogOp(.absent)
      absent.mode = mode
      absent.keyBytes = keyBytes
      return product.ops.append(absent)
    }
    guard mode != .text else { return appendLiteral(Array(value.utf8)) }
    var quoted: [UInt8] = []
    quoted.appendJSON(value)
    appendLiteral(mode == .jsonValue ? quoted : Array(quoted.dropFirst().dropLast()))
  }

  mutating func appendLiteral(_ text: [UInt8]) {
    guard !text.isEmpty else { return }
    product.literalBytes += text.count
    if product.ops.isEmpty { product.ops.append(LogOp(.literal)) }
    let last = product.ops.count - 1
    let tail = product.ops[last].tail
    if tail.length == 0 {
      product.ops[last].tail = store(text)
    } else {
      // What follows fixed text directly lies directly behind it.
      product.ops[last].tail.length += store(text).length
    }
  }

  mutating func store(_ bytes: [UInt8]) -> LogOp.Slice {
    let offset = UInt32(truncatingIfNeeded: product.arena.count)
    product.arena.append(contentsOf: bytes)
    return LogOp.Slice(offset: offset, length: UInt32(truncatingIfNeeded: bytes.count))
  }
}
