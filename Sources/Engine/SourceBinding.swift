import CLinux

/// Where connections that we make begin, and what is set on their sockets.
package struct SourceBinding: BitwiseCopyable {
  /// Port 0 leaves the port to the kernel; no address leaves all to it.
  package let address: SocketAddress?
  /// The machine may not have the address (yet) (IP_FREEBIND).
  package let isFree: Bool
  package let options: Table<SocketOption>

  package init(address: SocketAddress?, isFree: Bool, options: Table<SocketOption> = .empty) {
    self.address = address
    self.isFree = isFree
    self.options = options
  }

  /// Makes a socket ready to connect to `destination`; 0, or minus an errno.
  func prepare(_ fd: Int32, for destination: SocketAddress) -> Int32 {
    let set = options.set(.beforeBinding, on: fd)
    guard set == 0, let address, !destination.isUnix else { return set }
    if isFree {
      let allowed = fl_set_freebind(fd, address.family)
      guard allowed == 0 else { return allowed }
    }
    // The port is chosen when the other end is known: so one port serves many endpoints.
    if address.port == 0 { fl_choose_port_late(fd) }
    return unsafe address.withKernelAddress { unsafe fl_bind(fd, $0, $1) }
  }
}
