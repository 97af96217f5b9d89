import Engine
import Inspection

/// Lends bytes for the duration of `body`.
func lend<Result>(_ bytes: [UInt8], _ body: (Bytes) -> Result) -> Result {
  unsafe bytes.withUnsafeBufferPointer { buffer in
    guard let base = buffer.baseAddress else { return body(.empty) }
    return body(unsafe Bytes(base: base, count: buffer.count))
  }
}

/// What came of an inspection, without what was found.
enum Kind: Equatable {
  case incomplete
  case absent
  case malformed
  case found
}

extension Inspected {
  var kind: Kind {
    switch self {
    case .incomplete: .incomplete
    case .absent: .absent
    case .malformed: .malformed
    case .found: .found
    }
  }

  var finding: Finding? {
    if case .found(let finding) = self { finding } else { nil }
  }
}

extension UInt16 {
  var bytes: [UInt8] { [UInt8(self >> 8), UInt8(self & 0xFF)] }
}
