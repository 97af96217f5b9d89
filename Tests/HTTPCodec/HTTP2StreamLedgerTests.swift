import Testing

@testable import HTTPCodec

@Suite("What is remembered of streams")
struct HTTP2StreamLedgerTests {
  @Test("a stream that we reset may still send what was on its way")
  func resetByUs() {
    var ledger = HTTP2StreamLedger()
    _ = ledger.headers(1, isOpen: false)
    ledger.noteReset(1)
    let data = ledger.data(1, isOpen: false)
    let trailers = ledger.headers(1, isOpen: false)
    #expect(data == .pass)
    #expect(trailers == .pass)
  }

  @Test("places are used again without a memory of the last")
  func wrap() {
    var ledger = HTTP2StreamLedger()
    var id: Int32 = 1
    while id < 6001 {
      _ = ledger.headers(id, isOpen: false)
      ledger.noteReset(id)
      id += 2
    }
    _ = ledger.headers(id, isOpen: false)
    let late = ledger.data(id, isOpen: false)
    let skipped = ledger.headers(id + 10_000, isOpen: false)
    let between = ledger.headers(id + 9000, isOpen: false)
    #expect(late == .streamClosed)
    #expect(skipped == .pass)
    #expect(between == .protocolError)
  }

  @Test(
    "the last id there is can be opened, in any step",
    arguments: [1, 3, 1001, 2047, 4097] as [Int32])
  func lastIdentifier(before distance: Int32) {
    var ledger = HTTP2StreamLedger()
    let last = Int32.max
    let earlier = last - (distance + distance % 2)
    let first = ledger.headers(earlier, isOpen: false)
    let second = ledger.headers(last, isOpen: false)
    let again = ledger.headers(last, isOpen: false)
    let late = ledger.data(last, isOpen: false)
    #expect([first, second, again, late] == [.pass, .pass, .streamClosed, .streamClosed])
    #expect(ledger.highest == last)
  }
}
