/// Every bound on what a peer can make a call or a connection hold or do.
package enum RPCLimits {
  /// One message from a client: gRPC's own default. A discovery request is a few kilobytes.
  package static let requestBytes = 4 * 1024 * 1024

  /// One message from a server: a whole configuration, so as much as one in a file may take.
  package static let responseBytes = 64 * 1024 * 1024

  /// What a peer may send on one stream before we have looked at it. A message that is larger arrives
  /// in parts, each of which is taken at once, so this bounds what a paused call holds.
  package static let streamWindow: UInt32 = 256 * 1024

  /// The same for all streams of one connection.
  package static let connectionWindow: UInt32 = 1024 * 1024

  /// Fields and bytes of one header section: gRPC's default for metadata is 8 KiB; tokens need more.
  package static let fields = 100
  package static let fieldBytes = 32 * 1024

  /// Calls at once on one connection: what RFC 9113 §6.5.2 recommends at least. A proxy has one, or
  /// one for each kind of resource.
  package static let callsPerConnection: UInt32 = 100

  /// Connections that a server holds at once. Each may take the two windows and a few buffers, so that
  /// all of them stay below two gigabytes however badly they behave.
  package static let connections = 1024

  /// Bytes gathered before they are handed to the socket, and bytes that may wait there.
  static let gatheredBytes = 64 * 1024
  static let socketBytes = 256 * 1024

  /// How long a connection may stay without a call. A port scan, or a client that has lost interest,
  /// does not keep a place for ever; gRPC clients connect again when they need to.
  static let idleMilliseconds: UInt64 = 300_000

  /// How long a client may take for its TLS handshake: Envoy's default for a connection's socket, and
  /// ample for two round trips.
  static let handshakeMilliseconds: UInt64 = 10_000

  /// Milliseconds that a last word (a refusal, GOAWAY) may wait for its peer.
  static let lingerMilliseconds: UInt64 = 5000

  /// The longest `grpc-timeout` that is kept: a hundred days, about what the timers reach twice over.
  static let timeoutMilliseconds: UInt64 = 100 * 86_400_000
}
