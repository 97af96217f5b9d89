/// Why a format string is refused, in one sentence.
package struct LogFormatError: Error, Equatable, CustomStringConvertible {
  @usableFromInline
  package let description: String
  /// Envoy would take it; this proxy lacks an operator.
  package let isKnownToEnvoy: Bool

  init(_ description: String, isKnownToEnvoy: Bool = false) {
    self.description = description
    self.isKnownToEnvoy = isKnownToEnvoy
  }

  @usableFromInline
  package static func == (one: LogFormatError, other: LogFormatError) -> Bool {
    one.description == other.description
  }
}

/// How a format is compiled.
package struct LogFormatOptions {
  /// Leave out what has no value, instead of `-` and `null` (`omit_empty_values`).
  @usableFromInline
  package var omitEmptyValues = false
  /// A number for header names that the stream finds faster by number; 0 for the others.
  @usableFromInline
  package var knownHeader: (String) -> UInt8 = { _ in 0 }
  /// The most bytes of fixed text. Lines have to fit into a block of the writer, values included;
  /// a local reply's body may be longer.
  @usableFromInline
  package var literalBytes = 16 * 1024
  /// How deep JSON may be nested: deeper is a mistake, and the compiler recurses.
  @usableFromInline
  package var depth = 32

  @usableFromInline
  package init(omitEmptyValues: Bool = false) {
    self.omitEmptyValues = omitEmptyValues
  }
}

/// A JSON format: the tree of `json_format`. Strings may hold operators.
package indirect enum LogJSON {
  case string(String)
  case number(Double)
  case bool(Bool)
  case null
  case list([LogJSON])
  /// Printed in the order of the keys, as Envoy does.
  case object([(String, LogJSON)])
}

/// A format string, compiled: used for access logs, for header values and for bodies of local
/// replies. A handle to memory that nothing counts references of; its owner deallocates it when no
/// worker can use it any more.
@safe
@usableFromInline
package struct LogFormat: @unchecked Sendable {
  /// Envoy's text format where none is configured.
  package static let defaultText =
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" "
    + "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "
    + "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" "
    + "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n"

  // SAFETY: written once, before the value is handed out, and never changed; freed by the owner.
  @usableFromInline
  package let ops: UnsafeMutablePointer<LogOp>
  @usableFromInline
  package let pieces: UnsafeMutablePointer<TimePiece>
  @usableFromInline
  package let arena: UnsafeMutablePointer<UInt8>
  @usableFromInline
  package let opCount: Int
  private let pieceCount: Int
  private let arenaBytes: Int
  @usableFromInline
  package let omitsEmptyValues: Bool
  /// Bytes that every line has whatever the values are.
  @usableFromInline
  package let literalBytes: Int
  /// How many values a line has.
  @usableFromInline
  package let valueCount: Int

  /// Compiles a text format.
  package static func text(
    _ format: String, _ options: LogFormatOptions = LogFormatOptions()
  ) throws(LogFormatError) -> LogFormat {
    var compiler = LogFormatCompiler(options)
    try compiler.compileText(format)
    return LogFormat(try compiler.finish())
  }

  /// Compiles a JSON format. A line ends with a line break.
  package static func json(
    _ tree: LogJSON, _ options: LogFormatOptions = LogFormatOptions()
  ) throws(LogFormatError) -> LogFormat {
    var compiler = LogFormatCompiler(options)
    try compiler.compileJSON(tree)
    return LogFormat(try compiler.finish())
  }

  private init(_ compiled: LogFormatCompiler.Product) {
    let ops = UnsafeMutablePointer<LogOp>.allocate(capacity: max(1, compiled.ops.count))
    let pieces = UnsafeMutablePointer<TimePiece>.allocate(capacity: max(1, compiled.pieces.count))
    let arena = UnsafeMutablePointer<UInt8>.allocate(
      capacity: compiled.arena.count + ByteSink.wordsBytes)
    for (index, op) in compiled.ops.enumerated() { unsafe (ops + index).initialize(to: op) }
    for (index, piece) in compiled.pieces.enumerated() {
      unsafe (pieces + index).initialize(to: piece)
    }
    for (index, byte) in compiled.arena.enumerated() {
      unsafe (arena + index).initialize(to: byte)
    }
    // Padding, so that whole words can be read from any place.
    unsafe (arena + compiled.arena.count).initialize(repeating: 0, count: ByteSink.wordsBytes)
    unsafe self.ops = ops
    unsafe self.pieces = pieces
    unsafe self.arena = arena
    opCount = compiled.ops.count
    pieceCount = compiled.pieces.count
    arenaBytes = compiled.arena.count
    omitsEmptyValues = compiled.omitsEmptyValues
    literalBytes = compiled.literalBytes
    valueCount = compiled.valueCount
  }

  /// Gives the memory back. No copy of this value may be used afterwards.
  @usableFromInline
  package func deallocate() {
    unsafe ops.deallocate()
    unsafe pieces.deallocate()
    unsafe arena.deallocate()
  }

  /// The whole text, where no operator is in it; nil otherwise. Valid as long as the format.
  @usableFromInline
  package var constant: LogBytes? {
    switch opCount {
    case 0: return LogBytes()
    case 1 where unsafe ops[0].code == .literal: return bytes(unsafe ops[0].tail)
    default: return nil
    }
  }

  /// Bytes of the format's memory.
  @inlinable @inline(__always)
  package func bytes(_ slice: LogOp.Slice) -> LogBytes {
    unsafe LogBytes(start: arena + Int(slice.offset), count: Int(slice.length))
  }
}
