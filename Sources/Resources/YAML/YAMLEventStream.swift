import CYAML

/// A place in a document; both count from one.
struct YAMLMark: Sendable, Equatable {
  let line: Int
  let column: Int
}

/// Why a document could not be read at all.
struct YAMLSyntaxError: Error, Equatable {
  let mark: YAMLMark
  let message: String
}

/// What the parser met, in order.
enum YAMLEvent {
  case documentStart
  case documentEnd
  case streamEnd
  case alias(name: String)
  case scalar(text: String, isPlain: Bool)
  case sequenceStart
  case mappingStart
  /// The end of a sequence or a mapping.
  case end
}

/// libyaml's events. The only file that sees its pointers.
@safe
struct YAMLEventStream: ~Copyable {
  private let parser: UnsafeMutablePointer<yaml_parser_t>
  private let input: UnsafeMutableBufferPointer<UInt8>

  /// Anchor and tag of the event that `next` returned last.
  private(set) var anchor: String?
  private(set) var tag: String?
  /// Where that event began.
  private(set) var mark = YAMLMark(line: 1, column: 1)

  init(_ bytes: [UInt8]) throws(YAMLSyntaxError) {
    // SAFETY: the parser keeps a pointer into `input`; both live until `deinit`, and the type
    // cannot be copied.
    unsafe parser = .allocate(capacity: 1)
    unsafe input = .allocate(capacity: max(bytes.count, 1))
    _ = unsafe input.initialize(from: bytes)
    guard unsafe yaml_parser_initialize(parser) == 1 else {
      unsafe parser.deallocate()
      unsafe input.deallocate()
      throw YAMLSyntaxError(mark: mark, message: "out of memory")
    }
    unsafe yaml_parser_set_input_string(parser, input.baseAddress, bytes.count)
  }

  deinit {
    unsafe yaml_parser_delete(parser)
    unsafe parser.deallocate()
    unsafe input.deallocate()
  }

  mutating func next() throws(YAMLSyntaxError) -> YAMLEvent {
    while true {
      var event = unsafe yaml_event_t()
      guard unsafe yaml_parser_parse(parser, &event) == 1 else { throw syntaxError() }
      // SAFETY: the event owns its strings until it is deleted; all are copied before.
      defer { unsafe yaml_event_delete(&event) }
      mark = unsafe YAMLMark(
        line: Int(clamping: event.start_mark.line) + 1,
        column: Int(clamping: event.start_mark.column) + 1)
      if let event = unsafe convert(event) { return event }
    }
  }

  /// The event in our terms; nothing for those that don't matter.
  private mutating func convert(_ event: yaml_event_t) -> YAMLEvent? {
    anchor = nil
    tag = nil
    switch unsafe event.type {
    case YAML_NO_EVENT, YAML_STREAM_END_EVENT: return .streamEnd
    case YAML_DOCUMENT_START_EVENT: return .documentStart
    case YAML_DOCUMENT_END_EVENT: return .documentEnd
    case YAML_ALIAS_EVENT: return .alias(name: unsafe text(event.data.alias.anchor) ?? "")
    case YAML_SCALAR_EVENT:
      let scalar = unsafe event.data.scalar
      anchor = unsafe text(scalar.anchor)
      tag = unsafe text(scalar.tag)
      let bytes = unsafe UnsafeBufferPointer(start: scalar.value, count: scalar.length)
      return .scalar(
        text: unsafe String(decoding: bytes, as: UTF8.self),
        isPlain: unsafe scalar.style == YAML_PLAIN_SCALAR_STYLE)
    case YAML_SEQUENCE_START_EVENT:
      anchor = unsafe text(event.data.sequence_start.anchor)
      tag = unsafe text(event.data.sequence_start.tag)
      return .sequenceStart
    case YAML_MAPPING_START_EVENT:
      anchor = unsafe text(event.data.mapping_start.anchor)
      tag = unsafe text(event.data.mapping_start.tag)
      return .mappingStart
    case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: return .end
    default: return nil
    }
  }

  private func text(_ pointer: UnsafeMutablePointer<UInt8>?) -> String? {
    guard let pointer = unsafe pointer else { return nil }
    return unsafe String(cString: pointer)
  }

  private func syntaxError() -> YAMLSyntaxError {
    // SAFETY: libyaml's messages are constants.
    let problem = unsafe parser.pointee.problem.map { unsafe String(cString: $0) }
    let context = unsafe parser.pointee.context.map { unsafe String(cString: $0) }
    let at = unsafe parser.pointee.problem_mark
    let message = [problem ?? "not valid YAML", context].compactMap(\.self).joined(separator: " ")
    return YAMLSyntaxError(
      mark: YAMLMark(line: Int(clamping: at.line) + 1, column: Int(clamping: at.column) + 1),
      message: message)
  }
}
