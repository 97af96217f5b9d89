import Testing

@testable import HTTPCodec

@Suite("The streams that a peer has opened")
struct HTTP2StreamLedgerTests {
  @Test(
    "the last id there is can be opened, in any step",
    arguments: [1, 3, 1001, 2047, 4097] as [Int32])
  func lastIdentifier(before distance: Int32) {
    var ledger = HTTP2StreamLedger()
    let last = Int32.max
    let earlier = last - (distance + distance % 2)
    #expect(ledger.headers(earlier, isOpen: false) == .pass)
    #expect(ledger.headers(last, isOpen: false) == .pass)
    #expect(ledger.highest == last)
    #expect(ledger.headers(last, isOpen: false) == .streamClosed)
    #expect(ledger.data(last, isOpen: false) == .streamClosed)
    ledger.noteReset(last)
    #expect(ledger.data(last, isOpen: false) == .pass)
  }

  @Test("a stream that was left out is no stream")
  func leftOut() {
    var ledger = HTTP2StreamLedger()
    #expect(ledger.headers(1, isOpen: false) == .pass)
    #expect(ledger.headers(5, isOpen: false) == .pass)
    #expect(ledger.headers(3, isOpen: false) == .protocolError)
    #expect(ledger.headers(1, isOpen: false) == .streamClosed)
  }
}
