import CLinux

/// An option of a socket as the configuration has it: whatever the kernel takes.
package struct SocketOption: BitwiseCopyable {
  /// When in a socket's life it is set.
  package enum Moment: UInt8, BitwiseCopyable {
    case beforeBinding
    case bound
    case listening
  }

  package let level: Int32
  package let name: Int32
  package let value: Bytes
  package let moment: Moment

  package init(level: Int32, name: Int32, value: Bytes, moment: Moment) {
    self.level = level
    self.name = name
    self.value = value
    self.moment = moment
  }
}

extension Table where Element == SocketOption {
  /// Sets the options of a moment, in order; 0, or minus the errno of the first that the kernel refuses.
  func set(_ moment: SocketOption.Moment, on fd: Int32) -> Int32 {
    for index in 0..<count where self[index].moment == moment {
      let option = self[index]
      // SAFETY: the call reads `count` bytes of a value that lives as long as the configuration.
      let result = unsafe fl_set_option(
        fd, option.level, option.name, option.value.base, UInt32(clamping: option.value.count))
      guard result == 0 else { return result }
    }
    return 0
  }

  /// The same options in the same order.
  package func isSame(as other: Table<SocketOption>) -> Bool {
    count == other.count
      && (0..<count).allSatisfy {
        let (one, two) = (self[$0], other[$0])
        return one.level == two.level && one.name == two.name && one.value == two.value
          && one.moment == two.moment
      }
  }
}
