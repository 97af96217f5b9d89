import CFilterABI
import Engine
import Telemetry

/// Stands where a filter's configuration has not come, and answers in its place: without the filter that
/// its operator wanted there, no request goes on.
enum MissingFilter {
  /// The table; it lives as long as the process.
  private nonisolated(unsafe) static let table: Ref<fl_filter> = .immortal(makeTable())

  private static func makeTable() -> fl_filter {
    var table = fl_filter()
    table.abi_major = FL_ABI_MAJOR
    table.abi_minor = FL_ABI_MINOR
    table.size = MemoryLayout<fl_filter>.size
    table.state_alignment = 1
    unsafe table.on_request_head = { _, _, raw, _ in
      guard let slot = unsafe FilterHost.slot(raw) else { return FL_CONTINUE }
      let stream = slot.value.stream
      stream.value.flags.insert(.noFilterConfigFound)
      var reply = unsafe fl_reply()
      unsafe reply.status = 500
      unsafe reply.grpc_status = -1
      unsafe stream.prepareReply(&reply, by: Int(slot.value.index))
      return FL_REPLIED
    }
    return table
  }

  /// The filter at the place of the one of this name.
  static func make(_ name: String, isDisabled: Bool) -> LoadedFilter {
    unsafe LoadedFilter(
      name: name, type: "", table: UnsafePointer(table.pointer), config: table.raw,
      isDisabled: isDisabled)
  }
}
