import Engine
import Inspection
import Testing
import Upstream

@Suite("What endpoints are told by the PROXY protocol")
struct ProxyAnnouncementTests {
  static func tlv(_ type: UInt8, _ value: [UInt8]) -> [UInt8] {
    [type, UInt8(value.count >> 8), UInt8(value.count & 0xFF)] + value
  }

  /// Types and lengths of what is told on, and whether that is all.
  static func told(
    _ told: [UInt8], added: [UInt8] = [], passing types: [UInt8]? = nil, room: Int = 65523
  ) -> (tlvs: [String], hasAll: Bool) {
    var passed = ProxyTLVTypes.all
    if let types {
      passed = ProxyTLVTypes()
      for type in types { passed.insert(type) }
    }
    return added.withUnsafeBufferPointer { ours in
      told.withUnsafeBufferPointer { theirs in
        guard let own = ours.baseAddress ?? theirs.baseAddress,
          let other = theirs.baseAddress ?? ours.baseAddress
        else { return ([], true) }
        let announcement = ProxyAnnouncement(
          version: .v2, passed: passed, added: Bytes(base: own, count: ours.count))
        var found: [String] = []
        let hasAll = announcement.forEachTLV(
          of: Bytes(base: other, count: theirs.count), room: room
        ) { found.append("\($0.type):\($0.value.count)") }
        return (found, hasAll)
      }
    }
  }

  @Test("our own come first, and take the place of those of their type")
  func order() {
    let theirs = Self.tlv(1, [1]) + Self.tlv(2, []) + Self.tlv(1, [1, 2])
    #expect(Self.told(theirs).tlvs == ["1:1", "2:0", "1:2"])
    #expect(Self.told(theirs, passing: [1]).tlvs == ["1:1", "1:2"])
    #expect(Self.told(theirs, passing: []).tlvs == [])
    let ours = Self.tlv(9, []) + Self.tlv(1, [7, 7, 7])
    #expect(Self.told(theirs, added: ours).tlvs == ["9:0", "1:3", "2:0"])
  }

  @Test("what has no room is left out, and what follows may have some")
  func room() {
    let theirs = Self.tlv(1, [0, 0, 0]) + Self.tlv(2, [0])
    let all = Self.told(theirs, room: 10)
    #expect(all.tlvs == ["1:3", "2:1"] && all.hasAll)
    let some = Self.told(theirs, room: 9)
    #expect(some.tlvs == ["1:3"] && !some.hasAll)
    let less = Self.told(theirs, room: 5)
    #expect(less.tlvs == ["2:1"] && !less.hasAll)
    let none = Self.told(theirs, added: Self.tlv(3, [0]), room: 4)
    #expect(none.tlvs == ["3:1"] && !none.hasAll)
  }
}
