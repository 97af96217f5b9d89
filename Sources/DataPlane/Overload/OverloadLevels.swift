import CLinux
import Engine

/// How far each action against overload is turned on. The main thread sets it, and every worker looks.
struct OverloadLevels: BitwiseCopyable {
  private let stopRequests = Ref<fl_cell>.immortal(fl_cell())
  private let disableKeepalive = Ref<fl_cell>.immortal(fl_cell())
  private let stopConnections = Ref<fl_cell>.immortal(fl_cell())
  private let rejectConnections = Ref<fl_cell>.immortal(fl_cell())

  /// A level of 1, in parts of which a 32-bit random number hits one.
  private static let whole = UInt64(UInt32.max) + 1

  private func cell(_ action: OverloadAction) -> Ref<fl_cell> {
    switch action {
    case .stopAcceptingRequests: stopRequests
    case .disableKeepalive: disableKeepalive
    case .stopAcceptingConnections: stopConnections
    case .rejectConnections: rejectConnections
    }
  }

  /// - Parameter level: from 0 to 1.
  func set(_ action: OverloadAction, to level: Double) {
    unsafe fl_flag_set(cell(action).pointer, UInt64(level * Double(Self.whole)))
  }

  /// The action is turned on wholly.
  func isFull(_ action: OverloadAction) -> Bool {
    unsafe fl_flag_get(cell(action).pointer) >= Self.whole
  }

  /// Whether the action is taken this time: as often as its level says.
  func strikes(_ action: OverloadAction, _ random: inout Random) -> Bool {
    let level = unsafe fl_flag_get(cell(action).pointer)
    return level > 0 && UInt64(UInt32(truncatingIfNeeded: random.next())) < level
  }
}
