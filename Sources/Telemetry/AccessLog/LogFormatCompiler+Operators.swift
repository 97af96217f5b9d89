/// What each operator becomes.
extension LogFormatCompiler {
  mutating func makeOp(
    for command: LogFormatParser.Command
  ) throws(LogFormatError) -> LogOp {
    let argument = command.argument ?? ""
    switch command.meaning {
    case .field(let field):
      var op = LogOp(.field)
      op.field = field
      return op
    case .header(let headers): return try header(headers, argument, of: command.name)
    case .metadata(let kind): return try metadata(kind, argument[...], of: command.name)
    case .metadataOfKind: return try metadataOfKind(argument)
    case .duration(let from, let to): return Self.duration(from, to, scale: 1_000_000)
    case .commonDuration: return try commonDuration(argument)
    case .time(let clock): return try time(clock, command.argument)
    case .responseFlags(let long):
      var op = LogOp(.flags)
      op.detail = long ? 1 : 0
      return op
    case .grpcStatus: return try grpcStatus(command)
    case .queryParameter:
      var op = LogOp(.queryParameter)
      op.first = store(Array(argument.utf8))
      op.known = options.knownHeader(":path")
      return op
    case .queryParameters: return try queryParameters(argument)
    case .path: return try path(argument)
    case .constantNumber: return LogOp(.constantNumber)
    case .constantText: return LogOp(.constantText)
    case .absent, .environment, .hostname, .unsupported: return LogOp(.absent)
    }
  }

  private static func duration(
    _ from: LogTimePoint, _ to: LogTimePoint, scale: UInt32
  ) -> LogOp {
    var op = LogOp(.duration)
    op.from = from
    op.to = to
    op.scale = scale
    return op
  }

  // MARK: Headers

  private mutating func header(
    _ headers: LogHeaders, _ argument: String, of name: String
  ) throws(LogFormatError) -> LogOp {
    let names = argument.split(separator: "?", omittingEmptySubsequences: false)
    guard names.count <= 2 else {
      throw LogFormatError("%\(name)(\(argument))% names more than one alternative")
    }
    var op = LogOp(.header)
    op.headers = headers
    let first = try headerName(names[0], of: name)
    op.first = store(first.utf8.map { $0 })
    op.known = options.knownHeader(first)
    if names.count == 2, !names[1].isEmpty {
      let second = try headerName(names[1], of: name)
      op.second = store(second.utf8.map { $0 })
      op.knownSecond = options.knownHeader(second)
    }
    return op
  }

  private func headerName(_ name: Substring, of command: String) throws(LogFormatError) -> String {
    let lowered = name.lowercased()
    let body = lowered.hasPrefix(":") ? lowered.dropFirst() : lowered[...]
    guard !body.isEmpty, body.utf8.allSatisfy(Self.isTokenByte) else {
      throw LogFormatError("%\(command)(\(name))%: “\(name)” is not a header name")
    }
    return lowered
  }

  /// RFC 9110 §5.6.2.
  private static func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
    default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
  }

  // MARK: Metadata

  private mutating func metadata(
    _ kind: LogMetadata, _ path: Substring, of name: String
  ) throws(LogFormatError) -> LogOp {
    let parts = path.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.first?.isEmpty == false else {
      throw LogFormatError("%\(name)(…)% needs the name of a filter before the first colon")
    }
    var op = LogOp(.metadata)
    op.metadata = kind
    op.first = store(parts.flatMap { Array($0.utf8) + [0] })
    return op
  }

  private mutating func metadataOfKind(_ argument: String) throws(LogFormatError) -> LogOp {
    let kinds: [(String, LogMetadata)] = [
      ("DYNAMIC", .dynamic), ("CLUSTER", .cluster), ("ROUTE", .route),
      ("UPSTREAM_HOST", .upstreamHost), ("LISTENER", .listener), ("VIRTUAL_HOST", .virtualHost),
    ]
    let parts = argument.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard let kind = kinds.first(where: { $0.0 == parts[0] })?.1 else {
      let nearest = NearestName.of(String(parts[0]), among: kinds.map(\.0))
      let hint = nearest.map { "; did you mean \($0)?" } ?? ""
      throw LogFormatError("%METADATA(\(argument))%: \(parts[0]) is no kind of metadata\(hint)")
    }
    return try metadata(kind, parts.count > 1 ? parts[1] : "", of: "METADATA")
  }

  // MARK: Times

  private func commonDuration(_ argument: String) throws(LogFormatError) -> LogOp {
    let parts = argument.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 2 || parts.count == 3 else {
      throw LogFormatError(
        "%COMMON_DURATION(\(argument))% has to be written as start:end or start:end:precision")
    }
    let scales: [String: UInt32] = ["ms": 1_000_000, "us": 1_000, "ns": 1]
    guard let scale = scales[parts.count == 3 ? parts[2] : "ms"] else {
      throw LogFormatError(
        "%COMMON_DURATION(\(argument))%: \(parts[2]) is no precision; use ms, us or ns")
    }
    return Self.duration(
      try Self.timePoint(parts[0], argument), try Self.timePoint(parts[1], argument), scale: scale)
  }

  private static func timePoint(
    _ name: String, _ argument: String
  ) throws(LogFormatError) -> LogTimePoint {
    if let known = LogTimePoint.names.first(where: { $0.0 == name }) { return known.1 }
    let nearest = NearestName.of(name, among: LogTimePoint.names.map(\.0))
    let hint = nearest.map { "; did you mean \($0)?" } ?? ""
    throw LogFormatError("%COMMON_DURATION(\(argument))%: \(name) is no point in time\(hint)")
  }

  private mutating func time(
    _ clock: LogOp.Clock, _ argument: String?
  ) throws(LogFormatError) -> LogOp {
    let isLocal = clock == .startLocal || clock == .nowLocal
    let format = try TimeFormat(
      argument ?? (isLocal ? TimeFormat.defaultLocal : TimeFormat.defaultUTC))
    var op = LogOp(.time)
    op.clock = clock
    op.first.offset = UInt32(product.pieces.count)
    op.first.length = UInt32(format.pieces.count)
    for piece in format.pieces { product.pieces.append(placed(piece)) }
    return op
  }

  private mutating func placed(_ piece: TimeFormat.Piece) -> TimePiece {
    switch piece {
    case .calendar(let format) where !format.utf8.contains(UInt8(ascii: "%")):
      var placed = TimePiece(kind: .literal)
      placed.format = store(Array(format.utf8))
      return placed
    case .calendar(let format):
      var placed = TimePiece(kind: .calendar)
      placed.id = TimeFormat.makeID()
      placed.format = store(Array(format.utf8) + [0])
      return placed
    case .fraction(let digits): return TimePiece(kind: .fraction, digits: digits)
    case .trimmedFraction: return TimePiece(kind: .trimmedFraction)
    case .trimmedFractionWithPoint: return TimePiece(kind: .trimmedFractionWithPoint)
    case .epoch: return TimePiece(kind: .epoch)
    case .zone(let withSeconds): return TimePiece(kind: .zone, digits: withSeconds ? 1 : 0)
    }
  }

  // MARK: The rest

  private func grpcStatus(_ command: LogFormatParser.Command) throws(LogFormatError) -> LogOp {
    var op = LogOp(.grpcStatus)
    switch command.argument ?? (command.name == "GRPC_STATUS" ? "CAMEL_STRING" : "NUMBER") {
    case "CAMEL_STRING": op.grpcStyle = .camel
    case "SNAKE_STRING": op.grpcStyle = .snake
    case "NUMBER": op.grpcStyle = .number
    default:
      throw LogFormatError(
        "%GRPC_STATUS(\(command.argument ?? ""))%: use CAMEL_STRING, SNAKE_STRING or NUMBER")
    }
    return op
  }

  private func queryParameters(_ argument: String) throws(LogFormatError) -> LogOp {
    var op = LogOp(.queryParameters)
    op.known = options.knownHeader(":path")
    switch argument {
    case "", "ORIG": return op
    case "DECODED":
      op.detail = LogOp.PathBits.decoded
      return op
    default: throw LogFormatError("%QUERY_PARAMS(\(argument))%: use ORIG or DECODED")
    }
  }

  private func path(_ argument: String) throws(LogFormatError) -> LogOp {
    var op = LogOp(.path)
    op.known = options.knownHeader(":path")
    op.knownSecond = options.knownHeader("x-envoy-original-path")
    let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
    switch parts.first ?? "" {
    case "", "WQ": break
    case "NQ": op.detail |= LogOp.PathBits.withoutQuery
    default: throw LogFormatError("%PATH(\(argument))%: use WQ or NQ first")
    }
    switch parts.count > 1 ? parts[1] : "" {
    case "", "ORIG_OR_PATH": break
    case "ORIG": op.detail |= LogOp.PathBits.onlyOriginal
    case "PATH": op.detail |= LogOp.PathBits.onlyCurrent
    default:
      throw LogFormatError("%PATH(\(argument))%: use ORIG, PATH or ORIG_OR_PATH after the colon")
    }
    guard parts.count <= 2 else {
      throw LogFormatError("%PATH(\(argument))% has more than two parts")
    }
    return op
  }
}
