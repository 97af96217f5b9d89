import Engine

@testable import GRPC

/// A server and a channel on one loop, over loopback.
final class Pair {
  let loop = EventLoop()
  let runtime: RPCRuntime
  let server: RPCServer
  let channel: RPCChannel
  let address: SocketAddress
  /// What the server's calls have seen, by method.
  var served: [Served] = []

  init() throws {
    runtime = RPCRuntime(loop: loop)
    server = RPCServer(runtime)
    address = try server.listen(on: SocketAddress(ip: "127.0.0.1", port: 0)!)
    let address = self.address
    channel = RPCChannel(runtime, authority: "test") { address }
    let methods: [String: (Served, [UInt8]) -> Void] = [
      "/test/Echo": { served, message in served.call.send(message) },
      "/test/Silent": { _, _ in },
      "/test/Refuse": { served, _ in served.call.finish(RPCStatus(.notFound, "nö: 100%")) },
      "/test/Pause": { served, _ in served.call.pause() },
    ]
    for (path, answer) in methods {
      server.methods[path] = { [unowned self] call in
        let served = Served(call, answer)
        self.served.append(served)
        return served
      }
    }
  }

  deinit {
    channel.close()
    server.close()
    loop.turn(waitAtMost: 0)
    loop.turn(waitAtMost: 0)
  }

  /// Turns the loop until something is true; false if that does not come about in ten seconds.
  func until(_ condition: () -> Bool) -> Bool {
    let deadline = loop.now + 10_000_000_000
    while !condition() {
      guard loop.now < deadline else { return false }
      loop.turn(waitAtMost: 10)
    }
    return true
  }

  func start(_ method: String, timeout: UInt64? = nil, metadata: RPCFields = []) -> Asked {
    let asked = Asked()
    asked.call = channel.start(
      "/test/" + method, metadata: metadata, timeout: timeout, handler: asked)
    return asked
  }
}

/// One call on the server's side.
final class Served: RPCServerHandler {
  let call: RPCServerCall
  private let answer: (Served, [UInt8]) -> Void
  var messages: [[UInt8]] = []
  var hasEnded = false
  var endCount = 0

  init(_ call: RPCServerCall, _ answer: @escaping (Served, [UInt8]) -> Void) {
    self.call = call
    self.answer = answer
  }

  func received(_ message: [UInt8]) {
    messages.append(message)
    answer(self, message)
  }

  func clientFinished() { call.finish(.ok) }
  func ended() { endCount += 1 }
}

/// One call on the client's side.
final class Asked: RPCCallHandler {
  var call: RPCCall?
  var messages: [[UInt8]] = []
  var status: RPCStatus?
  var endCount = 0
  var sendableCount = 0

  func received(_ message: [UInt8]) { messages.append(message) }
  func ended(_ status: RPCStatus) {
    self.status = status
    endCount += 1
  }
  func sendable() { sendableCount += 1 }
}
