/// Writing a line. Nothing here allocates, retains or builds a `String`.
extension LogFormat {
  /// Appends one line to `sink`. Returns false when it did not fit; the sink then holds a part of
  /// it, to be taken back with `rewind`.
  ///
  /// `valueLimit` cuts every value that is longer: with `valueLimit(for:)` a line always fits.
  @inlinable
  package func render<Source: LogSource & ~Copyable>(
    _ source: borrowing Source, with renderer: LogRenderer, into sink: inout ByteSink,
    valueLimit: Int = .max
  ) -> Bool {
    for index in 0..<opCount {
      let op = unsafe ops[index]
      switch op.code {
      case .literal: sink.append(bytes(op.first))
      case .key:
        separate(&sink)
        sink.append(bytes(op.first))
      case .element: separate(&sink)
      case .objectEnd: endObject(op, &sink)
      default:
        var scratch = renderer.makeScratch()
        let value = evaluate(op, source, renderer, &scratch)
        write(value, op, valueLimit, &sink)
      }
    }
    return !sink.isFull
  }

  /// A limit for values under which a line fits into `capacity` bytes whatever the values are: an
  /// escaped byte takes six.
  package func valueLimit(for capacity: Int) -> Int {
    max(0, (capacity - literalBytes - 64 * valueCount) / (6 * max(1, valueCount)))
  }

  // MARK: JSON's structure

  /// A comma, unless the list or object has just begun.
  @inlinable
  package func separate(_ sink: inout ByteSink) {
    guard let last = sink.last, last != UInt8(ascii: "{"), last != UInt8(ascii: "[") else { return }
    sink.append(UInt8(ascii: ","))
  }

  /// Closes an object; takes it back with its key when it stayed empty and empty values are omitted.
  @inlinable
  package func endObject(_ op: LogOp, _ sink: inout ByteSink) {
    guard omitsEmptyValues, sink.last == UInt8(ascii: "{"), !sink.isFull else {
      return sink.append(UInt8(ascii: "}"))
    }
    sink.rewind(to: sink.count - 1)
    takeBackKey(op, &sink)
  }

  /// Takes back the key, or the list's comma, in front of a value that is left out.
  @inlinable
  package func takeBackKey(_ op: LogOp, _ sink: inout ByteSink) {
    guard !sink.isFull else { return }
    sink.rewind(to: sink.count - Int(op.keyBytes))
    if sink.last == UInt8(ascii: ",") { sink.rewind(to: sink.count - 1) }
  }

  // MARK: Values

  @inlinable
  package func write(_ value: LogValue, _ op: LogOp, _ valueLimit: Int, _ sink: inout ByteSink) {
    let limit = min(Int(op.limit), valueLimit)
    switch op.mode {
    case .text:
      switch value {
      case .absent: if !omitsEmptyValues { sink.append(UInt8(ascii: "-")) }
      case .bytes(let bytes), .json(let bytes): sink.append(bytes.prefix(limit))
      case .number(let number): sink.appendDecimal(number)
      }
    case .jsonString:
      switch value {
      case .absent: if !omitsEmptyValues { sink.append(UInt8(ascii: "-")) }
      case .bytes(let bytes), .json(let bytes): sink.appendEscaped(bytes.prefix(limit))
      case .number(let number): sink.appendDecimal(number)
      }
    case .jsonValue:
      switch value {
      case .absent where omitsEmptyValues: takeBackKey(op, &sink)
      case .absent: sink.append("null")
      case .json(let json) where json.count <= limit: sink.append(json)
      case .bytes(let bytes), .json(let bytes):
        sink.append(UInt8(ascii: "\""))
        sink.appendEscaped(bytes.prefix(limit))
        sink.append(UInt8(ascii: "\""))
      case .number(let number): sink.appendDecimal(number)
      }
    }
  }

  @inlinable
  package func evaluate<Source: LogSource & ~Copyable>(
    _ op: LogOp, _ source: borrowing Source, _ renderer: LogRenderer, _ scratch: inout ByteSink
  ) -> LogValue {
    switch op.code {
    case .field:
      guard let field = LogField(rawValue: op.detail) else { return .absent }
      return source.value(of: field, scratch: &scratch)
    case .header: return header(op, source)
    case .metadata:
      guard let kind = LogMetadata(rawValue: op.detail) else { return .absent }
      return source.metadata(kind, LogPath(joined: bytes(op.first)), scratch: &scratch)
    case .duration: return duration(op, source)
    case .time:
      time(op, source, renderer, &scratch)
      return .bytes(scratch.bytes)
    case .flags:
      source.responseFlags.append(to: &scratch, long: op.detail != 0)
      return .bytes(scratch.bytes)
    case .grpcStatus: return GRPCStatus.value(op, source, &scratch)
    case .queryParameter: return queryParameter(op, source, &scratch)
    case .queryParameters: return queryParameters(op, source, &scratch)
    case .path: return path(op, source)
    case .constantNumber: return .number(0)
    case .constantText: return .bytes(LogBytes())
    case .absent, .literal, .key, .element, .objectEnd: return .absent
    }
  }

  @inlinable
  package func header<Source: LogSource & ~Copyable>(
    _ op: LogOp, _ source: borrowing Source
  ) -> LogValue {
    guard let headers = LogHeaders(rawValue: op.detail) else { return .absent }
    let name = LogHeaderName(bytes: bytes(op.first), known: op.known)
    if let value = source.header(headers, name) { return .bytes(value) }
    guard op.second.length > 0 else { return .absent }
    let other = LogHeaderName(bytes: bytes(op.second), known: op.knownSecond)
    return source.header(headers, other).map { .bytes($0) } ?? .absent
  }

  @inlinable
  package func duration<Source: LogSource & ~Copyable>(
    _ op: LogOp, _ source: borrowing Source
  ) -> LogValue {
    guard let from = LogTimePoint(rawValue: op.detail), let to = LogTimePoint(rawValue: op.known),
      let start = source.time(of: from), let end = source.time(of: to), end >= start
    else { return .absent }
    return .number(Int64(truncatingIfNeeded: (end - start) / UInt64(max(1, op.scale))))
  }

  @inlinable
  package func time<Source: LogSource & ~Copyable>(
    _ op: LogOp, _ source: borrowing Source, _ renderer: LogRenderer, _ scratch: inout ByteSink
  ) {
    let clock = LogOp.Clock(rawValue: op.detail) ?? .startUTC
    let moment =
      clock == .startUTC || clock == .startLocal ? source.startTime : source.now
    appendTime(
      moment, local: clock == .startLocal || clock == .nowLocal, pieces: op.first, renderer,
      to: &scratch)
  }
}
