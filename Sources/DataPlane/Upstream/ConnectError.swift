import CLinux
import Engine
import Telemetry

/// Why a connection attempt failed, in Envoy's words.
enum ConnectError {
  /// - Parameter errno: what the kernel said; or, below zero, what the worker knows of a handshake.
  static func text(_ errno: Int32, on worker: Ref<Worker>) -> Bytes {
    switch errno {
    case ..<0: worker.value.tls.reason(errno)
    case ECONNREFUSED: Bytes("delayed connect error: Connection refused")
    case ENETUNREACH: Bytes("immediate connect error: Network is unreachable")
    case EHOSTUNREACH: Bytes("delayed connect error: No route to host")
    case ECONNRESET: Bytes("delayed connect error: Connection reset by peer")
    case ENOENT: Bytes("immediate connect error: No such file or directory")
    case EMFILE, ENFILE: Bytes("immediate connect error: Too many open files")
    case EADDRNOTAVAIL: Bytes("immediate connect error: Cannot assign requested address")
    default: Bytes("delayed connect error")
    }
  }

  /// The text in one word, for `%UPSTREAM_TRANSPORT_FAILURE_REASON%`; absent where the attempt did
  /// not fail by the kernel's word.
  static func logValue(
    _ errno: Int32, on worker: Ref<Worker>, _ scratch: inout ByteSink
  ) -> LogValue {
    guard errno != 0, errno != ETIMEDOUT else { return .absent }
    let text = text(errno, on: worker)
    let mark = scratch.count
    var index = 0
    while index < text.count {
      scratch.append(text[index] == UInt8(ascii: " ") ? UInt8(ascii: "_") : text[index])
      index += 1
    }
    return .bytes(scratch.bytes(since: mark))
  }
}
