import Engine
import Routing
import Telemetry

/// What a listener's access log asks a connection that was answered here for.
struct PlainLogSource: LoggedConnection {
  private let plain: Ref<PlainConnection>

  init(_ plain: Ref<PlainConnection>) { self.plain = plain }

  var loop: EventLoop { plain.loop }
  var openedAt: UInt64 { plain.value.openedAt }
  var told: ConnectionTLVs? { plain.value.told }
  func noted(_ space: Bytes, _ key: Bytes) -> MetadataValue? {
    plain.value.access.metadata.value(space, key)
  }
  func noted(_ kind: LogMetadata, _ path: LogPath) -> LogValue {
    plain.value.access.metadata.logValue(kind, path)
  }
  var responseFlags: ResponseFlags { plain.value.refusal?.flags ?? ResponseFlags() }

  func connectionValue(of field: LogField, _ scratch: inout ByteSink) -> LogValue? {
    switch field {
    case .connectionID: .number(Int64(clamping: plain.value.id))
    case .bytesReceived: .number(Int64(clamping: plain.value.connection.bytesRead))
    case .bytesSent: .number(Int64(clamping: plain.value.connection.bytesWritten))
    case .filterChainName:
      plain.value.chain.flatMap { $0.value.name.isEmpty ? nil : .bytes(LogBytes($0.value.name)) }
        ?? .absent
    case .downstreamDetectedCloseType: .bytes(LogBytes("Normal"))
    case .downstreamLocalCloseReason:
      plain.value.access.phase == .refused
        ? LocalCloseReason.accessDenied.logValue
        : plain.value.refusal.map { .bytes(LogBytes($0.reason)) } ?? .absent
    case .connectionTerminationDetails:
      plain.value.access.details.isEmpty
        ? .absent : .bytes(LogBytes(plain.value.access.details))
    case .downstreamLocalAddress: plain.value.local.logValue(.whole, &scratch)
    case .downstreamLocalAddressWithoutPort: plain.value.local.logValue(.withoutPort, &scratch)
    case .downstreamLocalPort: plain.value.local.logValue(.port, &scratch)
    case .downstreamRemoteAddress: plain.value.remote.logValue(.whole, &scratch)
    case .downstreamRemoteAddressWithoutPort: plain.value.remote.logValue(.withoutPort, &scratch)
    case .downstreamRemotePort: plain.value.remote.logValue(.port, &scratch)
    case .downstreamDirectRemoteAddress: plain.value.directRemote.logValue(.whole, &scratch)
    case .downstreamDirectRemoteAddressWithoutPort:
      plain.value.directRemote.logValue(.withoutPort, &scratch)
    case .downstreamDirectRemotePort: plain.value.directRemote.logValue(.port, &scratch)
    default:
      field.downstreamFact.map { plain.value.secured?.facts.logValue($0, &scratch) ?? .absent }
    }
  }
}
