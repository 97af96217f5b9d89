import Engine
import Telemetry

extension Ref where Value == DownstreamConnection {
  /// A fact about the connection, for a log line of its own or of a request on it; nil for a field
  /// that is not about connections.
  /// - Parameter client: who asks, which may be somebody behind the connection's other end.
  func logValue(
    of field: LogField, client: SocketAddress, _ scratch: inout ByteSink
  ) -> LogValue? {
    switch field {
    case .filterChainName:
      value.chain.map { $0.value.name }.flatMap { $0.isEmpty ? nil : .bytes(LogBytes($0)) }
        ?? .absent
    case .downstreamLocalAddress: value.local.logValue(.whole, &scratch)
    case .downstreamLocalAddressWithoutPort: value.local.logValue(.withoutPort, &scratch)
    case .downstreamLocalPort: value.local.logValue(.port, &scratch)
    case .downstreamDirectLocalAddress: directLocal.logValue(.whole, &scratch)
    case .downstreamDirectLocalAddressWithoutPort:
      directLocal.logValue(.withoutPort, &scratch)
    case .downstreamDirectLocalPort: directLocal.logValue(.port, &scratch)
    case .downstreamRemoteAddress: client.logValue(.whole, &scratch)
    case .downstreamRemoteAddressWithoutPort: client.logValue(.withoutPort, &scratch)
    case .downstreamRemotePort: client.logValue(.port, &scratch)
    case .downstreamDirectRemoteAddress: value.directRemote.logValue(.whole, &scratch)
    case .downstreamDirectRemoteAddressWithoutPort:
      value.directRemote.logValue(.withoutPort, &scratch)
    case .downstreamDirectRemotePort: value.directRemote.logValue(.port, &scratch)
    case .downstreamRoundTripTime:
      connection.roundTripMicroseconds.map { .number(Int64($0 / 1000)) } ?? .absent
    default:
      field.downstreamFact.map { facts?.logValue($0, &scratch) ?? .absent }
    }
  }
}

extension SocketAddress {
  /// What of an address a log shows.
  enum LoggedPart {
    case whole
    case withoutPort
    case port
  }

  /// This address, or its part; absent where it is not known.
  func logValue(_ part: LoggedPart, _ scratch: inout ByteSink) -> LogValue {
    guard isKnown else { return .absent }
    if part == .port { return .number(Int64(port)) }
    var memory = InlineArray<136, UInt8>(repeating: 0)
    let mark = scratch.count
    var span = memory.mutableSpan
    unsafe span.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      var out = unsafe ByteWriter(base: base, capacity: buffer.count)
      if part == .whole { append(to: &out) } else { appendIP(to: &out) }
      scratch.append(LogBytes(out.written))
    }
    return .bytes(scratch.bytes(since: mark))
  }
}
