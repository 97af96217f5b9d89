import HTTPModel
import Testing

@testable import HTTPCodec

@Suite("HTTP/2 peers that only make work")
struct HTTP2FloodTests {
  private static let calm: UInt32 = 11

  /// Sends until the session has enough, at most `limit` times; how often it was.
  private func flood(
    _ peer: SessionPeer, limit: Int = 30_000, _ frames: (Int) -> [UInt8]
  ) -> Int {
    peer.talk()
    var count = 0
    while count < limit, !peer.isOver {
      peer.receive(frames(count))
      count += 1
    }
    return count
  }

  private func expectEnd(
    _ peer: SessionPeer, _ offence: HTTP2Budget.Offence, _ code: UInt32 = calm
  ) {
    #expect(peer.isOver)
    #expect(peer.session.value.offence == offence)
    #expect(peer.frames.last?.code == code)
    #expect(peer.liveBytes < 1_000_000)
  }

  @Test("rapid reset ends with the hundredth stream")
  func rapidReset() {
    let peer = SessionPeer()
    peer.answers = false
    let count = flood(peer) {
      let id = UInt32($0 * 2 + 1)
      return Frame.headers(id, Frame.post, flags: Frame.endHeaders) + Frame.reset(id)
    }
    expectEnd(peer, .resets)
    #expect(count == Int(Limits.prematureResets))
  }

  @Test("a client that cancels less than half of what it asks is served on")
  func ordinaryCancels() {
    let peer = SessionPeer()
    peer.answers = false
    let count = flood(peer, limit: 2000) {
      let id = UInt32($0 * 6 + 1)
      peer.answers = true
      let served = Frame.headers(id) + Frame.headers(id + 2)
      return served + Frame.headers(id + 4, Frame.post, flags: Frame.endHeaders)
        + Frame.reset(id + 4)
    }
    #expect(count == 2000)
    #expect(!peer.isOver)
  }

  @Test("resets that the peer makes us send end the connection")
  func madeYouReset() {
    let peer = SessionPeer()
    peer.answers = false
    let count = flood(peer) {
      let id = UInt32($0 * 2 + 1)
      return Frame.headers(id, Frame.post, flags: Frame.endHeaders)
        + Frame.windowUpdate(id, 0x7FFF_FFFF)
    }
    expectEnd(peer, .provokedResets)
    #expect(count <= Int(Limits.provokedResets) + 2)
  }

  @Test("pings", arguments: [Frame.ping, Frame.settings, Frame.raw(0x16)])
  func controlFrames(frame: [UInt8]) {
    let peer = SessionPeer()
    let count = flood(peer) { _ in frame }
    expectEnd(peer, .controlFrames)
    #expect(count <= Int(Limits.controlFrames) + 2)
  }

  @Test("a ping now and then is answered for ever")
  func slowPings() {
    let peer = SessionPeer()
    let count = flood(peer, limit: 5000) { _ in
      peer.now += 20_000_000
      return Frame.ping
    }
    #expect(count == 5000)
    #expect(!peer.isOver)
  }

  @Test("empty DATA")
  func emptyData() {
    let peer = SessionPeer()
    let count = flood(peer) {
      $0 == 0 ? Frame.headers(1, Frame.post, flags: Frame.endHeaders) : Frame.data(1)
    }
    expectEnd(peer, .emptyFrames)
    #expect(count == 3)
  }

  @Test("PRIORITY")
  func priority() {
    let peer = SessionPeer()
    let count = flood(peer) { _ in Frame.raw(2, stream: 1, [0, 0, 0, 3, 1]) }
    expectEnd(peer, .priorityFrames)
    #expect(count == 101)
  }

  @Test("WINDOW_UPDATE")
  func windowUpdates() {
    let peer = SessionPeer()
    let count = flood(peer) { _ in Frame.windowUpdate(0, 1) }
    expectEnd(peer, .windowUpdates)
    #expect(count == 6)
  }

  @Test("CONTINUATION without an end")
  func continuation() {
    let peer = SessionPeer()
    let count = flood(peer) {
      $0 == 0
        ? Frame.headers(1, flags: Frame.endStream)
        : Frame.raw(9, stream: 1, Frame.block([("a", "b")]))
    }
    expectEnd(peer, .continuations)
    #expect(count == 10)
  }

  @Test("a few bytes that unpack into megabytes")
  func bomb() {
    let peer = SessionPeer()
    // One entry of almost the whole table, and then its index again and again (RFC 7541 §6.1).
    let value = [UInt8](repeating: 97, count: 4000)
    let entry = [0x40, 1, 98, 0x7F, 0xA1, 0x1E] + value
    let count = flood(peer) {
      let first = Frame.block(Frame.get) + ($0 == 0 ? entry : [])
      return Frame.raw(
        1, flags: Frame.whole, stream: UInt32($0 * 2 + 1),
        first + [UInt8](repeating: 0xBE, count: 10_000))
    }
    expectEnd(peer, .headerBomb)
    #expect(count == 1)
  }

  @Test("one stream after the other that is refused")
  func badRequests() {
    let peer = SessionPeer()
    let count = flood(peer) { Frame.headers(UInt32($0 * 2 + 1), [(":method", "GET")]) }
    expectEnd(peer, .provokedResets)
    #expect(count <= Int(Limits.provokedResets) + 2)
  }
}
