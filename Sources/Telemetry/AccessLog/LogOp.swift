/// One step of a compiled format. Plain data: it lies in memory that nobody counts references of.
package struct LogOp {
  /// A range of the format's bytes (or, for times, of its time pieces).
  package struct Slice {
    package var offset: UInt32 = 0
    package var length: UInt32 = 0
  }

  package enum Code: UInt8 {
    /// Copies `first`.
    case literal
    // Operators. `detail` is the field, the headers, the metadata's kind, the unit.
    case field
    /// `first` is the name, `second` the one to use where the first is absent.
    case header
    /// `first` is the path.
    case metadata
    /// `detail` and `known` are the points, `scale` the unit in nanoseconds.
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
  package enum Mode: UInt8 {
    /// In plain text.
    case text
    /// Inside a JSON string, among other pieces.
    case jsonString
    /// Alone, as a JSON value of its own type.
    case jsonValue
  }

  /// Which moment a time operator prints, and in which zone.
  package enum Clock: UInt8 {
    case startUTC
    case startLocal
    case nowUTC
    case nowLocal
  }

  /// How a status of gRPC is written.
  package enum GRPCStyle: UInt8 {
    case camel
    case snake
    case number
  }

  /// What `PATH` and `QUERY_PARAMS` show, as bits of `detail`.
  package enum PathBits {
    package static let withoutQuery: UInt8 = 1
    package static let onlyOriginal: UInt8 = 2
    package static let onlyCurrent: UInt8 = 4
    package static let decoded: UInt8 = 8
  }

  package static let noLimit = UInt32.max

  package var code: Code
  package var mode = Mode.text
  package var detail: UInt8 = 0
  package var known: UInt8 = 0
  package var knownSecond: UInt8 = 0
  /// Nanoseconds to a unit of a duration.
  package var scale: UInt32 = 1
  /// The most bytes of the value (`:N`).
  package var limit = Self.noLimit
  package var first = Slice()
  package var second = Slice()
  /// How many bytes of key precede the value, to be taken back when an empty value is left out.
  package var keyBytes: UInt32 = 0

  package init(_ code: Code) { self.code = code }
}

/// A part of a time's text.
package struct TimePiece {
  package enum Kind: UInt8 {
    /// A `strftime` format: its text changes once a second and is kept in the renderer.
    case calendar
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

  package var kind: Kind
  package var digits: UInt8 = 0
  /// Tells calendar pieces apart in the renderer's memory.
  package var id: UInt32 = 0
  /// The `strftime` format, ended by a zero byte.
  package var format = LogOp.Slice()
}
