// libFuzzer's entry into what a listener reads before it knows whom a connection is for: a TLS
// client's hello, a PROXY header, a request line. What a beginning said has to hold for the whole.

import Engine
import Inspection

/// Keeps results alive: what nobody uses is optimised away, and the parser with it.
nonisolated(unsafe) public var sink = 0

/// What an inspection came to, as a number: 0 while it is undecided.
private func number<Finding>(_ outcome: Inspected<Finding>, _ found: (Finding) -> Int) -> Int {
  switch outcome {
  case .incomplete: 0
  case .absent: 1
  case .malformed: 2
  case .found(let finding): 3 + found(finding)
  }
}

/// What TLVs take, with what each says of itself.
private func told(_ tlvs: Bytes) -> Int {
  ProxyTLVs(tlvs).reduce(0) { total, tlv in
    precondition(
      tlv.whole.count == tlv.value.count + ProxyTLV.prefixBytes, "a value and its prefix")
    return total + tlv.whole.count
  }
}

private func outcomes(_ bytes: Bytes) -> [Int] {
  [
    number(ClientHello.inspect(bytes, limit: 4096)) { hello in
      precondition(hello.byteCount <= bytes.count, "no more is taken than there is")
      return hello.serverName.withBytes { name in
        for index in 0..<name.count {
          precondition(ASCII.lower(name[index]) == name[index], "a name in lower case")
        }
        return name.count
      } + hello.protocols.count * 256
    },
    number(ProxyHeader.inspect(bytes)) { header in
      precondition(header.byteCount <= bytes.count, "no more is taken than there is")
      precondition(told(header.tlvs) == header.tlvs.count, "TLVs are whole")
      return header.byteCount + header.tlvs.count * 65_536
    },
    number(HTTPOpening.inspect(bytes, limit: 256)) { $0.name.count },
  ]
}

/// Reads one input, whole and each of its beginnings that the first byte chooses.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
  guard let data, size > 1 else { return 0 }
  let all = Bytes(base: data + 1, count: size - 1)
  let whole = outcomes(all)
  let step = 1 + Int(data[0]) % 32
  var count = 0
  while count < all.count {
    for (early, late) in zip(outcomes(all.prefix(count)), whole) where early > 0 {
      precondition(early == late, "what was decided stays decided")
    }
    count += step
  }
  sink &+= whole.reduce(0, &+)
  return 0
}
