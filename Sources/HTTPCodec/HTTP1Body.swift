import CLinux
import Engine
import HTTPModel

/// What the next bytes of a body are.
package enum BodyEvent {
  /// These bytes are the body's; there may be more in the same input.
  case data(Bytes)
  /// The body is over.
  case end
  /// The last chunk has come: a trailer section begins at the position reached.
  case trailers
  /// The input is used up.
  case needMore
  case invalid(HTTP1Error)
}

/// Takes a body out of its framing. It is told bytes and says what they are; a chunk's head may be
/// split anywhere.
package struct BodyDecoder: BitwiseCopyable {
  private enum State: UInt8 {
    case none, length, untilClose
    case size, sizeBlank, sizeExtension, sizeNewline, chunk, chunkNewline, trailers
    case done
  }

  private var state: State = .none
  private var sawDigit = false
  /// Bytes left of the body, or of the chunk.
  private var left = 0
  private var lineBytes = 0

  package init() {}

  package init(_ framing: BodyFraming) {
    switch framing {
    case .none: state = .none
    case .length(let bytes):
      state = .length
      left = bytes
    case .chunked: state = .size
    case .untilClose: state = .untilClose
    }
  }

  /// Nothing more belongs to the body.
  package var isDone: Bool { state == .none || state == .done || (state == .length && left == 0) }

  /// The trailer section has been read.
  package mutating func finishTrailers() { state = .done }

  /// The end of the connection is the end of the body.
  package var endsWithConnection: Bool { state == .untilClose }

  /// Says what stands at `position` of `input`, and moves it on.
  package mutating func next(_ input: Bytes, at position: inout Int) -> BodyEvent {
    switch state {
    case .none, .done:
      return .end
    case .trailers:
      return .trailers
    case .length:
      guard left > 0 else {
        state = .done
        return .end
      }
      return takeData(input, &position)
    case .untilClose:
      left = Int.max
      return takeData(input, &position)
    case .chunk where left > 0:
      return takeData(input, &position)
    default:
      return nextInChunkFrame(input, at: &position)
    }
  }

  /// Chunks up to this size together make one piece: small enough not to cost latency.
  private static let joinedBytes = 16 * 1024

  /// The same as `next`, but the data of chunks that lie behind each other is moved together, so that
  /// a peer that cuts its body into single bytes costs little more than one that does not.
  ///
  /// SAFETY: `memory` holds `count` bytes, which the call may overwrite up to the position reached.
  package mutating func nextJoined(
    _ memory: UnsafeMutablePointer<UInt8>, _ count: Int, at position: inout Int
  ) -> BodyEvent {
    let input = unsafe Bytes(base: UnsafePointer(memory), count: count)
    let first = next(input, at: &position)
    guard case .data(let piece) = first, state == .chunk, position < count else { return first }
    let start = position - piece.count
    var end = position
    while end - start < Self.joinedBytes, position < count {
      let before = (self, position)
      let event = next(input, at: &position)
      if case .data(let more) = event {
        // What was read already lies in front of what is moved.
        unsafe _ = memmove(memory + end, memory + (position - more.count), more.count)
        end += more.count
        continue
      }
      // Whatever else there is to tell is told next time.
      if case .needMore = event { break }
      (self, position) = before
      break
    }
    return .data(unsafe Bytes(base: UnsafePointer(memory) + start, count: end - start))
  }

  private mutating func takeData(_ input: Bytes, _ position: inout Int) -> BodyEvent {
    let n = min(left, input.count - position)
    guard n > 0 else { return .needMore }
    left -= n
    position += n
    return .data(input[position - n, position])
  }

  /// Reads the bytes between chunks (RFC 9112 §7.1) until there is data or an end.
  private mutating func nextInChunkFrame(_ input: Bytes, at position: inout Int) -> BodyEvent {
    while position < input.count {
      let byte = input[position]
      position += 1
      switch state {
      case .size:
        guard readSize(byte) else { return .invalid(.chunk) }
      case .sizeBlank:
        // Only an extension, or the line's end, may stand behind a blank.
        lineBytes += 1
        guard lineBytes <= Limits.chunkLineBytes, readBehindSize(byte) else {
          return .invalid(.chunk)
        }
      case .sizeExtension:
        // Dropped, but not without looking: a bare LF or control byte could end the line elsewhere.
        lineBytes += 1
        guard lineBytes <= Limits.chunkLineBytes else { return .invalid(.chunk) }
        if byte == 13 {
          state = .sizeNewline
        } else if (byte < 32 && byte != 9) || byte == 127 {
          return .invalid(.chunk)
        }
      case .sizeNewline:
        guard byte == 10 else { return .invalid(.chunk) }
        if left == 0 {
          state = .trailers
          return .trailers
        }
        state = .chunk
        return takeData(input, &position)
      case .chunk:
        guard byte == 13 else { return .invalid(.chunk) }
        state = .chunkNewline
      case .chunkNewline:
        guard byte == 10 else { return .invalid(.chunk) }
        state = .size
        sawDigit = false
        lineBytes = 0
        left = 0
      default:
        return .invalid(.chunk)
      }
    }
    return .needMore
  }

  private mutating func readSize(_ byte: UInt8) -> Bool {
    let digit = ASCII.hex(byte)
    lineBytes += 1
    if digit < 16 {
      guard lineBytes <= 15 else { return false }
      sawDigit = true
      left = left << 4 | Int(digit)
      return true
    }
    return sawDigit && readBehindSize(byte)
  }

  private mutating func readBehindSize(_ byte: UInt8) -> Bool {
    switch byte {
    case 13: state = .sizeNewline
    case UInt8(ascii: ";"): state = .sizeExtension
    // Bad form (§7.1.1 allows them around an extension), and harmless before one.
    case 32, 9: state = .sizeBlank
    default: return false
    }
    return true
  }
}
