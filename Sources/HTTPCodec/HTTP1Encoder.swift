import Engine
import HTTPModel

/// Writes heads, chunk frames and trailers as HTTP/1.1 puts them on the wire.
package enum HTTP1Encoder {
  /// Bytes that a head with these fields may need at most, beside its fields.
  package static let startLineRoom = 128

  /// A request head. The map holds `:method`, `:path` and `:authority`.
  package static func request(_ head: borrowing HeaderMap, to out: inout ByteWriter) {
    out.append(head[.method] ?? Bytes("GET"))
    out.append(UInt8(ascii: " "))
    out.append(head[.path] ?? Bytes("/"))
    out.append(" HTTP/1.1\r\n")
    if let authority = head[.authority] {
      out.append("host: ")
      out.append(authority)
      out.append("\r\n")
    }
    fields(head, to: &out)
  }

  /// A response head; an empty line ends it.
  /// - Parameter minor: the minor version to speak, which is the request's.
  package static func response(
    _ head: borrowing HeaderMap, status: Int, minor: UInt8 = 1, to out: inout ByteWriter
  ) {
    if status == 200, minor == 1 {
      out.append("HTTP/1.1 200 OK\r\n")
    } else {
      out.append(minor == 1 ? "HTTP/1.1 " : "HTTP/1.0 ")
      out.append(decimal: status)
      out.append(UInt8(ascii: " "))
      out.append(Status.reason(status))
      out.append("\r\n")
    }
    fields(head, to: &out)
  }

  /// The frame before a chunk's data.
  package static func chunkHead(_ size: Int, to out: inout ByteWriter) {
    out.append(hexadecimal: size)
    out.append("\r\n")
  }

  /// The last chunk without trailers.
  package static var lastChunk: Bytes { Bytes("0\r\n\r\n") }

  /// The last chunk with trailers.
  package static func trailers(_ trailers: borrowing HeaderMap, to out: inout ByteWriter) {
    out.append("0\r\n")
    fields(trailers, to: &out)
  }

  @inline(__always)
  private static func fields(_ head: borrowing HeaderMap, to out: inout ByteWriter) {
    head.writeLines(to: &out)
    out.append(13, 10)
  }
}
