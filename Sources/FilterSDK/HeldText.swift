/// A copy of a text that a stream's state keeps beyond the callback that was lent it.
///
/// It is a plain value, so that a filter that seldom keeps one pays nothing: whoever keeps a text
/// calls `release` in `onEnd`, which the host never leaves out.
@safe @frozen
public struct HeldText: BitwiseCopyable {
  @usableFromInline let start: UnsafeMutablePointer<UInt8>?
  @usableFromInline let count: Int

  /// Holds nothing.
  @inlinable public init() {
    unsafe start = nil
    count = 0
  }

  /// Holds a copy.
  public init(copying text: ByteView) {
    count = text.count
    guard count > 0 else {
      unsafe start = nil
      return
    }
    let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: count)
    for index in 0..<count { unsafe (copy + index).initialize(to: text[index]) }
    unsafe start = copy
  }

  @inlinable public var isEmpty: Bool { count == 0 }

  /// SAFETY: valid until `release`, which comes last of all.
  @inlinable public var view: ByteView {
    unsafe ByteView(start: start.map { unsafe UnsafePointer($0) }, count: count)
  }

  /// Gives the memory back and holds nothing.
  @inlinable public mutating func release() {
    guard let start = unsafe start else { return }
    unsafe start.deallocate()
    self = HeldText()
  }
}
