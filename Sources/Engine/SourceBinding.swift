import CLinux

/// Where connections that we make begin.
package struct SourceBinding: BitwiseCopyable {
  /// Port 0 leaves the port to the kernel.
  package let address: SocketAddress
  /// The machine may not have the address (yet) (IP_FREEBIND).
  package let isFree: Bool

  package init(address: SocketAddress, isFree: Bool) {
    self.address = address
    self.isFree = isFree
  }

  /// 0, or minus an errno.
  func bind(_ fd: Int32) -> Int32 {
    if isFree {
      let allowed = fl_set_freebind(fd, address.family)
      guard allowed == 0 else { return allowed }
    }
    // The port is chosen when the other end is known: so one port serves many endpoints.
    if address.port == 0 { fl_choose_port_late(fd) }
    return unsafe address.withKernelAddress { unsafe fl_bind(fd, $0, $1) }
  }
}
