import Engine
import Testing

@testable import GRPC

@Suite("Calls")
struct RPCCallTests {
  @Test("a message goes there and back, and the call ends well")
  func unary() throws {
    let pair = try Pair()
    let asked = pair.start("Echo", metadata: [("x-token", "abc")])
    asked.call?.send([1, 2, 3])
    asked.call?.finish()
    #expect(pair.until { asked.status != nil })
    #expect(asked.messages == [[1, 2, 3]])
    #expect(asked.status == .ok)
    #expect(asked.endCount == 1)
    #expect(pair.served[0].endCount == 1)
    #expect(pair.served[0].call.metadata["x-token"] == "abc")
  }

  @Test("messages go both ways while the call lasts")
  func bidirectional() throws {
    let pair = try Pair()
    let asked = pair.start("Echo")
    for round in UInt8(1)...50 {
      asked.call?.send([round])
      #expect(pair.until { asked.messages.count == Int(round) })
    }
    #expect(asked.messages.last == [50])
    #expect(asked.status == nil)
    asked.call?.finish()
    #expect(pair.until { asked.status == .ok })
  }

  @Test("a message larger than every window and buffer arrives whole")
  func large() throws {
    let pair = try Pair()
    let asked = pair.start("Echo")
    let message = (0..<RPCLimits.requestBytes).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    asked.call?.send(message)
    #expect(asked.call?.isBlocked == true)
    asked.call?.finish()
    #expect(pair.until { asked.status != nil })
    #expect(asked.status == .ok)
    #expect(asked.messages == [message])
    #expect(asked.sendableCount == 1)
  }

  @Test("a message over the server's limit ends the call, and no other")
  func overLimit() throws {
    let pair = try Pair()
    let other = pair.start("Echo")
    let asked = pair.start("Echo")
    asked.call?.send([UInt8](repeating: 0, count: RPCLimits.requestBytes + 1))
    #expect(pair.until { asked.status != nil })
    #expect(asked.status?.code == .resourceExhausted)
    other.call?.send([1])
    other.call?.finish()
    #expect(pair.until { other.status == .ok })
    #expect(pair.server.connectionCount == 1)
  }

  @Test("an unknown method is told apart from others")
  func unknownMethod() throws {
    let pair = try Pair()
    let asked = pair.start("Nothing")
    #expect(pair.until { asked.status != nil })
    #expect(asked.status == RPCStatus(.unimplemented, "no method '/test/Nothing'"))
  }

  @Test("a refusal's message arrives as it was written")
  func refusal() throws {
    let pair = try Pair()
    let asked = pair.start("Refuse")
    asked.call?.send([1])
    #expect(pair.until { asked.status != nil })
    #expect(asked.status == RPCStatus(.notFound, "nö: 100%"))
  }

  @Test("a deadline ends the call on both sides")
  func deadline() throws {
    let pair = try Pair()
    let asked = pair.start("Silent", timeout: 30)
    asked.call?.send([1])
    #expect(pair.until { asked.status != nil && pair.served.first?.endCount == 1 })
    #expect(asked.status?.code == .deadlineExceeded)
  }

  @Test("a cancelled call ends on the server, and tells its own side nothing more")
  func cancellation() throws {
    let pair = try Pair()
    let asked = pair.start("Silent")
    asked.call?.send([1])
    #expect(pair.until { pair.served.first?.messages.count == 1 })
    asked.call?.cancel()
    #expect(pair.until { pair.served.first?.endCount == 1 })
    #expect(asked.endCount == 0)
    #expect(pair.server.connectionCount == 1)
  }

  @Test("whoever pauses stops the sender, and gets everything once it goes on")
  func backPressure() throws {
    let pair = try Pair()
    let asked = pair.start("Pause")
    let message = [UInt8](repeating: 7, count: 128 * 1024)
    for _ in 0..<20 { asked.call?.send(message) }
    #expect(pair.until { pair.served.first?.messages.count == 1 })
    for _ in 0..<50 { pair.loop.turn(waitAtMost: 1) }
    let waiting = asked.call?.queuedBytes ?? 0
    #expect(pair.served[0].messages.count == 1)
    // What is not with the client is at most the window, beyond the message that was delivered.
    #expect(waiting >= 19 * message.count - Int(RPCLimits.streamWindow))
    for count in 2...20 {
      pair.served[0].call.resume()
      #expect(pair.until { pair.served[0].messages.count == count })
    }
    #expect(asked.call?.queuedBytes == 0)
  }

  @Test("calls that are given up while they pause leave room for others")
  func windows() throws {
    let pair = try Pair()
    for round in 1...8 {
      let asked = pair.start("Pause")
      for _ in 0..<8 { asked.call?.send([UInt8](repeating: 7, count: 128 * 1024)) }
      #expect(
        pair.until { pair.served.count == round && pair.served[round - 1].messages.count == 1 })
      for _ in 0..<10 { pair.loop.turn(waitAtMost: 1) }
      asked.call?.cancel()
      #expect(pair.until { pair.served[round - 1].endCount == 1 })
    }
    let asked = pair.start("Echo")
    asked.call?.send([UInt8](repeating: 7, count: 2 * 1024 * 1024))
    asked.call?.finish()
    #expect(pair.until { asked.status != nil })
    #expect(asked.status == .ok)
  }

  @Test("a server that nobody runs is unavailable")
  func refusedConnection() throws {
    let pair = try Pair()
    pair.server.stopListening()
    let asked = pair.start("Echo")
    #expect(asked.endCount == 0)
    #expect(pair.until { asked.status != nil })
    #expect(asked.status?.code == .unavailable)
  }

  @Test("a server without an address is unavailable, told after the call has begun")
  func noAddress() throws {
    let pair = try Pair()
    let channel = RPCChannel(pair.runtime, authority: "nowhere") { nil }
    let asked = Asked()
    asked.call = channel.start("/test/Echo", handler: asked)
    #expect(asked.status == nil)
    #expect(pair.until { asked.status != nil })
    #expect(asked.status == RPCStatus(.unavailable, "nowhere has no address"))
  }

  @Test("a draining server lets calls end, and the next one takes another connection")
  func drain() throws {
    let pair = try Pair()
    let first = pair.start("Echo")
    first.call?.send([1])
    #expect(pair.until { first.messages.count == 1 })
    pair.server.drain()
    for _ in 0..<20 { pair.loop.turn(waitAtMost: 1) }
    first.call?.send([2])
    first.call?.finish()
    #expect(pair.until { first.status != nil })
    #expect(first.status == .ok)
    #expect(first.messages == [[1], [2]])
    #expect(pair.until { pair.server.connectionCount == 0 })
    let second = pair.start("Echo")
    #expect(pair.until { second.status != nil })
    #expect(second.status?.code == .unavailable)
  }

  @Test("a connection that breaks fails its calls once")
  func broken() throws {
    let pair = try Pair()
    let asked = pair.start("Silent")
    asked.call?.send([1])
    #expect(pair.until { pair.served.count == 1 })
    pair.server.close()
    #expect(pair.until { asked.status != nil })
    #expect(asked.status?.code == .unavailable)
    #expect(pair.served[0].endCount == 1)
  }

  @Test("calls beyond the server's limit wait for those before")
  func manyCalls() throws {
    let pair = try Pair()
    // The limit is known when the server has spoken.
    let first = pair.start("Echo")
    first.call?.finish()
    #expect(pair.until { first.status == .ok })
    pair.served.removeAll()
    let calls = (0..<Int(RPCLimits.callsPerConnection) + 20).map { _ in pair.start("Echo") }
    for asked in calls { asked.call?.send([1]) }
    #expect(pair.until { pair.served.count == Int(RPCLimits.callsPerConnection) })
    for asked in calls { asked.call?.finish() }
    #expect(pair.until { calls.allSatisfy { $0.status == .ok } })
  }

  @Test("a persistent stream begins anew when its server has come back")
  func persistent() throws {
    final class Follower: RPCPersistentStreamHandler {
      var stream: RPCPersistentStream?
      var openedCount = 0
      var messages: [[UInt8]] = []
      var ends: [RPCCode] = []
      func opened() {
        openedCount += 1
        stream?.send([UInt8(truncatingIfNeeded: openedCount)])
      }
      func received(_ message: [UInt8]) { messages.append(message) }
      func ended(_ status: RPCStatus, retryIn milliseconds: UInt64) { ends.append(status.code) }
    }
    let pair = try Pair()
    let follower = Follower()
    let stream = RPCPersistentStream(
      pair.channel, path: "/test/Echo", backoff: RPCBackoff(base: 2, most: 4), handler: follower)
    follower.stream = stream
    stream.start()
    #expect(pair.until { follower.messages.count == 1 })
    pair.server.close()
    #expect(pair.until { follower.ends.count >= 3 })
    #expect(follower.ends.allSatisfy { $0 == .unavailable })
    _ = try pair.server.listen(on: pair.address)
    #expect(pair.until { follower.messages.count == 2 })
    stream.stop()
    follower.stream = nil
  }
}
