import Engine

/// The `typed_per_filter_config` of one level, by the position of each filter in its chain.
package struct FilterConfigs: BitwiseCopyable {
  /// What one level says about one filter.
  // SAFETY: the pointer is handed back to the module that made it, and never read here.
  @safe
  struct Slot: BitwiseCopyable {
    /// Something is said, if only that the filter is not disabled.
    var isPresent = false
    var isDisabled = false
    /// What the module made of it, as `load_route` returned it.
    var config: UnsafeRawPointer?
  }

  /// Empty when the level says nothing about any filter of the chain.
  private let slots: Table<Slot>

  init(_ slots: [Slot]) {
    let isUsed = slots.contains { $0.isPresent }
    self.slots = Table.configured(isUsed ? slots : [])
  }

  /// The level says something about a filter of the chain.
  var isUsed: Bool { !slots.isEmpty }

  @inline(__always)
  subscript(slot: Int) -> Slot {
    slot >= 0 && slot < slots.count ? slots[slot] : Slot()
  }
}
