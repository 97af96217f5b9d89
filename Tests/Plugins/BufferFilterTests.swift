import BufferFilter
import FilterSDK
import Testing

@Suite("Buffer filter")
struct BufferFilterTests {
  @Test("a request with a body is held back, within the bound, and gets its length")
  func buffers() throws {
    let stream = try FilterRig(bufferFilter, ["max_request_bytes": 10]).stream()
    #expect(stream.requestHead(end: false) == .buffer)
    #expect(stream.bufferLimit == 10)
    #expect(stream.requestBody("0123", end: true) == .continue)
    #expect(stream.request("content-length") == "4")
  }

  @Test("a request without a body passes")
  func noBody() throws {
    let stream = try FilterRig(bufferFilter, ["max_request_bytes": 10]).stream()
    #expect(stream.requestHead() == .continue)
  }

  @Test("a route has its own bound, or none")
  func routes() throws {
    let config: Document = ["max_request_bytes": 10]
    let own = try FilterRig(bufferFilter, config, route: ["buffer": ["max_request_bytes": 20]])
      .stream()
    #expect(own.requestHead(end: false) == .buffer)
    #expect(own.bufferLimit == 20)

    let off = try FilterRig(bufferFilter, config, route: ["disabled": true]).stream()
    #expect(off.requestHead(end: false) == .continue)
    #expect(off.requestBody("0123", end: true) == .continue)
    #expect(off.request("content-length") == nil)
  }

  @Test("a bound is needed")
  func refused() {
    #expect(throws: FilterRig.Refused.self) { try FilterRig(bufferFilter) }
    #expect(throws: FilterRig.Refused.self) {
      try FilterRig(bufferFilter, ["max_request_bytes": 0])
    }
    #expect(throws: FilterRig.Refused.self) {
      try FilterRig(bufferFilter, ["max_request_bytes": 1], route: [:])
    }
  }
}
