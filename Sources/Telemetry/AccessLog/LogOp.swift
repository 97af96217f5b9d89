/// One step of a compiled format. Plain data: it lies in memory that nobody counts references of.
@usableFromInline
package struct LogOp {
  /// A range of the format's bytes (or, for times, of its time pieces).
  @usableFromInline
  package struct Slice {
    @usableFromInline
    package var offset: UInt32 = 0
    @usableFromInline
    package var length: UInt32 = 0
  }

  @usableFromInline
  package enum Code: UInt8 {
    /// Nothing but its tail.
    case literal
    // Operators.
    case field
    /// `first` is the name, `second` the one to use where the first is absent.
    case header
    /// `first` is the path.
    case metadata
    /// From point `from` to point `to`, in units of `scale` nanoseconds.
    case duration
    /// `first` is a range of time pieces.
    case time
    case flags
    case grpcStatus
    /// `first` is the parameter's name.
    case queryParameter
    case queryParameters
    case path
    case absent
    case constantNumber
    case constantText
    // JSON's structure.
    /// `first` is `"key":`, to be preceded by a comma where something stands before it.
    case key
    /// The same without a key, in a list.
    case element
    /// Closes an object that may have stayed empty.
    case objectEnd
  }

  /// Where the value stands.
  @usableFromInline
  package enum Mode: UInt8 {
    /// In plain text.
    case text
    /// Inside a JSON string, among other pieces.
    case jsonString
    /// Alone, as a JSON value of its own type.
    case jsonValue
  }

  /// Which moment a time operator prints, and in which zone.
  @usableFromInline
  package enum Clock: UInt8, Sendable {
    case startUTC
    case startLocal
    case nowUTC
    case nowLocal
  }

  /// How a status of gRPC is written.
  @usableFromInline
  package enum GRPCStyle: UInt8, Sendable {
    case camel
    case snake
    case number
  }

  /// What `PATH` and `QUERY_PARAMS` show, as bits of `detail`.
  @usableFromInline
  package enum PathBits {
    @usableFromInline
    package static let withoutQuery: UInt8 = 1
    @usableFromInline
    package static let onlyOriginal: UInt8 = 2
    @usableFromInline
    package static let onlyCurrent: UInt8 = 4
    @usableFromInline
    package static let decoded: UInt8 = 8
  }

  @usableFromInline
  package static let noLimit = UInt32.max

  @usableFromInline
  package var code: Code
  @usableFromInline
  package var mode = Mode.text
  // Which of these an operation looks at depends on its code.
  @usableFromInline
  package var field = LogField.accessLogType
  @usableFromInline
  package var headers = LogHeaders.request
  @usableFromInline
  package var metadata = LogMetadata.dynamic
  @usableFromInline
  package var from = LogTimePoint.downstreamFirstByteReceived
  @usableFromInline
  package var to = LogTimePoint.streamEnd
  @usableFromInline
  package var clock = Clock.startUTC
  @usableFromInline
  package var grpcStyle = GRPCStyle.camel
  /// `PathBits`, or whether flags are printed long.
  @usableFromInline
  package var detail: UInt8 = 0
  /// The numbers of the first and the second header name.
  @usableFromInline
  package var known: UInt8 = 0
  @usableFromInline
  package var knownSecond: UInt8 = 0
  /// Nanoseconds to a unit of a duration.
  @usableFromInline
  package var scale: UInt32 = 1
  /// The most bytes of the value (`:N`).
  @usableFromInline
  package var limit = Self.noLimit
  @usableFromInline
  package var first = Slice()
  @usableFromInline
  package var second = Slice()
  /// Fixed text after the value.
  @usableFromInline
  package var tail = Slice()
  /// How many bytes of key precede the value, to be taken back when an empty value is left out.
  @usableFromInline
  package var keyBytes: UInt32 = 0

  @usableFromInline
  package init(_ code: Code) { self.code = code }
}

/// A part of a time's text.
@usableFromInline
package struct TimePiece {
  @usableFromInline
  package enum Kind: UInt8 {
    /// A `strftime` format: its text changes once a second and is kept in the renderer.
    case calendar
    /// The bytes of `format` as they are.
    case literal
    /// The first `digits` digits of the second's fraction.
    case fraction
    /// The fraction without the zeros at its end; `0` for a whole second.
    case trimmedFraction
    /// The same behind a point, or nothing.
    case trimmedFractionWithPoint
    /// Seconds since 1970.
    case epoch
    /// The zone's distance from UTC: `+01:00`, with seconds where `digits` is not zero.
    case zone
  }

  @usableFromInline
  package var kind: Kind
  @usableFromInline
  package var digits: UInt8 = 0
  /// Tells calendar pieces apart in the renderer's memory.
  @usableFromInline
  package var id: UInt32 = 0
  /// The `strftime` format, ended by a zero byte.
  @usableFromInline
  package var format = LogOp.Slice()
}
