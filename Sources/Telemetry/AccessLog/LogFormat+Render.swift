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
    var scratch = renderer.makeScratch()
    // A copy that is written back at the end: the compiler keeps it in registers.
    var out = sink
    defer { sink = out }
    for index in 0..<opCount {
      let op = unsafe LogOpReference(ops + index)
      switch op.code {
      case .literal: break
      case .key:
        separate(&out)
        appendLiteral(op.first, to: &out)
      case .element: separate(&out)
      case .objectEnd: endObject(op, &out)
      // In plain text these are written where they go: no length may cut them.
      case .time where op.mode == .text: time(op, source, renderer, &out)
      case .flags where op.mode == .text:
        source.responseFlags.append(to: &out, long: op.detail != 0)
      default:
        write(evaluate(op, source, renderer, &scratch), op, valueLimit, &out)
        scratch.rewind(to: 0)
      }
      if op.tail.length > 0 { appendLiteral(op.tail, to: &out) }
    }
    return !out.isFull
  }

  /// Fixed text is mostly a few bytes between two values: those are copied as two words, which the
  /// arena's padding allows, because a call of `memcpy` costs more.
  @inlinable @inline(__always)
  package func appendLiteral(_ slice: LogOp.Slice, to sink: inout ByteSink) {
    if slice.length <= ByteSink.wordsBytes {
      unsafe sink.appendWords(arena + Int(slice.offset), count: Int(slice.length))
    } else {
      sink.append(bytes(slice))
    }
  }

  /// A limit for values under which a line fits into `capacity` bytes whatever the values are: an
  /// escaped byte takes six.
  @usableFromInline
  package func valueLimit(for capacity: Int) -> Int {
    max(0, (capacity - literalBytes - 64 * valueCount) / (6 * max(1, valueCount)))
  }

  // MARK: JSON's structure

  /// A comma, unless the list or object has just begun.
  @inlinable @inline(__always)
  package func separate(_ sink: inout ByteSink) {
    guard let last = sink.last, last != UInt8(ascii: "{"), last != UInt8(ascii: "[") else { return }
    sink.append(UInt8(ascii: ","))
  }

  /// Closes an object; takes it back with its key when it stayed empty and empty values are omitted.
  @inlinable
  package func endObject(_ op: LogOpReference, _ sink: inout ByteSink) {
    guard omitsEmptyValues, sink.last == UInt8(ascii: "{"), !sink.isFull else {
      return sink.append(UInt8(ascii: "}"))
    }
    sink.rewind(to: sink.count - 1)
    takeBackKey(op, &sink)
  }

  /// Takes back the key, or the list's comma, in front of a value that is left out.
  @inlinable
  package func takeBackKey(_ op: LogOpReference, _ sink: inout ByteSink) {
    guard !sink.isFull else { return }
    sink.rewind(to: sink.count - Int(op.keyBytes))
    if sink.last == UInt8(ascii: ",") { sink.rewind(to: sink.count - 1) }
  }

  // MARK: Values

  @inlinable @inline(__always)
  package func write(
    _ value: LogValue, _ op: LogOpReference, _ valueLimit: Int, _ sink: inout ByteSink
  ) {
    let limit = min(Int(op.limit), valueLimit)
    guard op.mode == .text else { return writeJSON(value, op, limit, &sink) }
    switch value {
    case .absent: if !omitsEmptyValues { sink.append(UInt8(ascii: "-")) }
    case .bytes(let bytes), .json(let bytes): sink.append(bytes.prefix(limit))
    case .number(let number): sink.appendDecimal(number)
    }
  }

  @inlinable @inline(never)
  package func writeJSON(
    _ value: LogValue, _ op: LogOpReference, _ limit: Int, _ sink: inout ByteSink
  ) {
    switch op.mode {
    case .text, .jsonString:
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

  @inlinable @inline(__always)
  package func evaluate<Source: LogSource & ~Copyable>(
    _ op: LogOpReference, _ source: borrowing Source, _ renderer: LogRenderer,
    _ scratch: inout ByteSink
  ) -> LogValue {
    switch op.code {
    case .field: return source.value(of: op.field, scratch: &scratch)
    case .header: return header(op, source)
    case .duration: return duration(op, source)
    default: return evaluateRarer(op, source, renderer, &scratch)
    }
  }

  /// What few formats have: kept apart, so that the loop over the others stays small.
  @inlinable @inline(never)
  package func evaluateRarer<Source: LogSource & ~Copyable>(
    _ op: LogOpReference, _ source: borrowing Source, _ renderer: LogRenderer,
    _ scratch: inout ByteSink
  ) -> LogValue {
    switch op.code {
    case .metadata:
      return source.metadata(op.metadata, LogPath(joined: bytes(op.first)), scratch: &scratch)
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
    default: return .absent
    }
  }

  @inlinable @inline(__always)
  package func header<Source: LogSource & ~Copyable>(
    _ op: LogOpReference, _ source: borrowing Source
  ) -> LogValue {
    let name = LogHeaderName(bytes: bytes(op.first), known: op.known)
    if let value = source.header(op.headers, name) { return .bytes(value) }
    guard op.second.length > 0 else { return .absent }
    let other = LogHeaderName(bytes: bytes(op.second), known: op.knownSecond)
    return source.header(op.headers, other).map { .bytes($0) } ?? .absent
  }

  @inlinable @inline(__always)
  package func duration<Source: LogSource & ~Copyable>(
    _ op: LogOpReference, _ source: borrowing Source
  ) -> LogValue {
    guard let start = source.time(of: op.from), let end = source.time(of: op.to), end >= start
    else { return .absent }
    return .number(Int64(truncatingIfNeeded: (end - start) / UInt64(max(1, op.scale))))
  }

  @inlinable
  package func time<Source: LogSource & ~Copyable>(
    _ op: LogOpReference, _ source: borrowing Source, _ renderer: LogRenderer,
    _ scratch: inout ByteSink
  ) {
    let clock = op.clock
    let moment =
      clock == .startUTC || clock == .startLocal ? source.startTime : source.now
    appendTime(
      moment, local: clock == .startLocal || clock == .nowLocal, pieces: op.first, renderer,
      to: &scratch)
  }
}
