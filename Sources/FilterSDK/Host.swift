public import CFilterABI

/// The proxy, as filters reach it: one table of C functions, adopted once before any filter loads.
public enum Host {
  /// Adopts the host's table for this image. False when its ABI is not the one built against; then
  /// no filter of this image may be used.
  public static func adopt(_ table: UnsafePointer<fl_host>) -> Bool {
    guard unsafe table.pointee.abi_major == FL_ABI_MAJOR,
      unsafe table.pointee.size >= MemoryLayout<fl_host>.size
    else { return false }
    unsafe fl_adopted_host = table
    return true
  }

  /// The adopted table. SAFETY: a filter's code runs only after `adopt` has said yes, and a table
  /// of that size has every function, so that neither unwrapping here nor of a function can fail.
  @unsafe @inlinable @inline(__always)
  static var table: fl_host {
    @inline(__always) unsafeAddress { unsafe fl_adopted_host.unsafelyUnwrapped }
  }
}

/// How much a line of the proxy's log matters.
@frozen
public enum LogLevel: UInt32 {
  case trace = 0
  case debug, info, warn, error, critical
}

extension Host {
  /// Writes a line to the proxy's log. Not for the request path: it builds a `String`.
  public static func log(_ level: LogLevel, _ message: String) {
    var message = message
    message.withUTF8 { utf8 in
      let bytes = unsafe fl_bytes(data: utf8.baseAddress, count: utf8.count)
      unsafe table.log.unsafelyUnwrapped(fl_log_level(level.rawValue), bytes)
    }
  }
}
