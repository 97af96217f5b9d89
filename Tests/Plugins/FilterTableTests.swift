import CFilterABI
import FilterSDK
import Retry
import Testing
import Timeout

// A table lives as long as the process.
private let silentFilter = FilterTable(FilterTableTests.Silent.self)
private let holderFilter = FilterTable(FilterTableTests.Holder.self)

@Suite("Filter tables")
struct FilterTableTests {
  /// The smallest filter there is.
  struct Silent: HTTPFilter {
    init(config: borrowing NoConfig) {}
  }

  /// A state that the host must release.
  struct Holder: RequestHeadFilter {
    final class Counted {}
    nonisolated(unsafe) static weak var last: Counted?
    var held: Counted
    init(config: borrowing NoConfig) {
      held = Counted()
      Self.last = held
    }
    mutating func onRequestHead(
      _ head: borrowing RequestHeadView, config: borrowing NoConfig,
      _ context: borrowing StreamContext
    ) -> Verdict { .stop }
  }

  @Test("callbacks that a filter lacks are absent, so that the host skips them")
  func absentCallbacks() {
    let table = silentFilter.table.pointee
    #expect(table.load != nil)
    #expect(table.load_route == nil)
    #expect(table.worker_new == nil)
    #expect(table.stream_new == nil)
    #expect(table.on_request_head == nil)
    #expect(table.on_request_body == nil)
    #expect(table.on_request_trailers == nil)
    #expect(table.on_response_head == nil)
    #expect(table.on_response_body == nil)
    #expect(table.on_response_trailers == nil)
    #expect(table.on_timer == nil)
    #expect(table.on_call == nil)
    #expect(table.on_log == nil)
    #expect(table.on_end == nil)
    #expect(table.flags == 0)
  }

  @Test("callbacks that a filter has are there")
  func presentCallbacks() {
    let timeout = timeoutFilter.table.pointee
    #expect(timeout.on_request_head != nil)
    #expect(timeout.on_timer != nil)
    #expect(timeout.load_route != nil)
    #expect(timeout.on_response_body == nil)
    #expect(timeout.on_end == nil)
    #expect(retryFilter.table.pointee.on_end != nil)
    #expect(retryFilter.table.pointee.flags == UInt32(FL_MAY_REPLAY))
    #expect(timeout.state_size <= 4096)
  }

  @Test("a state that holds references is released at the end")
  func releasesState() throws {
    let stream = try FilterRig(holderFilter).stream()
    #expect(stream.requestHead() == .stop)
    #expect(Holder.last != nil)
    stream.end()
    #expect(Holder.last == nil)
  }

  @Test("a host of another major version is not adopted")
  func otherVersion() {
    var table = fl_host()
    table.abi_major = FL_ABI_MAJOR + 1
    table.size = MemoryLayout<fl_host>.size
    #expect(!Host.adopt(&table))
    table.abi_major = FL_ABI_MAJOR
    table.size -= 1
    #expect(!Host.adopt(&table))
  }
}
