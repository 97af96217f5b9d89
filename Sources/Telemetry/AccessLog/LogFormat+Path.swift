/// Operators that look into the request's path.
extension LogFormat {
  @inlinable
  package func currentPath<Source: LogSource & ~Copyable>(
    _ op: LogOpReference, _ source: borrowing Source
  ) -> LogBytes? {
    source.header(.request, LogHeaderName(bytes: LogBytes(":path"), known: op.known))
  }

  @inlinable
  package func path<Source: LogSource & ~Copyable>(_ op: LogOpReference, _ source: borrowing Source)
    -> LogValue
  {
    var found: LogBytes?
    if op.detail & LogOp.PathBits.onlyCurrent == 0 {
      let name = LogBytes("x-envoy-original-path")
      found = source.header(.request, LogHeaderName(bytes: name, known: op.knownSecond))
    }
    if found == nil && op.detail & LogOp.PathBits.onlyOriginal == 0 {
      found = currentPath(op, source)
    }
    guard let found else { return .absent }
    guard op.detail & LogOp.PathBits.withoutQuery != 0 else { return .bytes(found) }
    return .bytes(found.prefix(Self.queryStart(found) ?? found.count))
  }

  @inlinable
  package func queryParameters<Source: LogSource & ~Copyable>(
    _ op: LogOpReference, _ source: borrowing Source, _ scratch: inout ByteSink
  ) -> LogValue {
    guard let path = currentPath(op, source), let start = Self.queryStart(path) else {
      return .absent
    }
    let query = Self.slice(path, start + 1, path.count)
    guard op.detail & LogOp.PathBits.decoded != 0 else { return .bytes(query) }
    Self.appendDecoded(query, keepsLonePercents: false, to: &scratch)
    return .bytes(scratch.bytes)
  }

  @inlinable
  package func queryParameter<Source: LogSource & ~Copyable>(
    _ op: LogOpReference, _ source: borrowing Source, _ scratch: inout ByteSink
  ) -> LogValue {
    guard let path = currentPath(op, source),
      let value = Self.firstParameter(of: path, named: bytes(op.first), &scratch)
    else { return .absent }
    return .bytes(value)
  }

  /// Where the question mark is.
  @usableFromInline
  package static func queryStart(_ path: LogBytes) -> Int? {
    unsafe path.buffer.firstIndex(of: UInt8(ascii: "?"))
  }

  @usableFromInline
  package static func slice(_ bytes: LogBytes, _ from: Int, _ to: Int) -> LogBytes {
    unsafe LogBytes(UnsafeBufferPointer(rebasing: bytes.buffer[from..<max(from, to)]))
  }

  /// The decoded value of the first parameter of this name.
  @usableFromInline
  package static func firstParameter(
    of path: LogBytes, named name: LogBytes, _ scratch: inout ByteSink
  ) -> LogBytes? {
    guard let question = queryStart(path) else { return nil }
    let bytes = unsafe path.buffer
    var start = question + 1
    while start < bytes.count {
      var end = start
      var equals: Int?
      while end < bytes.count, unsafe bytes[end] != UInt8(ascii: "&") {
        if equals == nil, unsafe bytes[end] == UInt8(ascii: "=") { equals = end }
        end += 1
      }
      let mark = scratch.count
      appendDecoded(slice(path, start, equals ?? end), to: &scratch)
      if unsafe scratch.bytes(since: mark).buffer.elementsEqual(name.buffer) {
        let value = scratch.count
        appendDecoded(slice(path, equals.map { $0 + 1 } ?? end, end), to: &scratch)
        return scratch.bytes(since: value)
      }
      scratch.rewind(to: mark)
      start = end + 1
    }
    return nil
  }

  /// Percent-decoding. A percent sign that no two hexadecimal digits follow stays in a parameter
  /// and vanishes from the whole query, as in Envoy.
  @usableFromInline
  package static func appendDecoded(
    _ text: LogBytes, keepsLonePercents: Bool = true, to sink: inout ByteSink
  ) {
    let bytes = unsafe text.buffer
    var index = 0
    while index < bytes.count {
      let byte = unsafe bytes[index]
      if byte == UInt8(ascii: "%"), index + 2 < bytes.count,
        let high = hexDigit(unsafe bytes[index + 1]), let low = hexDigit(unsafe bytes[index + 2])
      {
        sink.append(high << 4 | low)
        index += 3
      } else {
        if byte != UInt8(ascii: "%") || keepsLonePercents { sink.append(byte) }
        index += 1
      }
    }
  }

  private static func hexDigit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x41 + 10
    case 0x61...0x66: byte - 0x61 + 10
    default: nil
    }
  }
}
