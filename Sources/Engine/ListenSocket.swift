import CLinux

/// Sockets that accept: one per worker with SO_REUSEPORT, or one shared descriptor for a Unix path.
package enum ListenSocket {
  /// Options of a listening socket.
  package struct Options {
    package var backlog: Int32 = 4096
    package var reusePort = true
    /// Lets an IPv6 wildcard socket take IPv4 connections too.
    package var ipv4Compatible = false
    /// Permissions of a Unix path; 0 leaves them to the process's umask.
    package var unixMode: UInt32 = 0
    /// Takes connections for addresses that are not this machine's (IP_TRANSPARENT).
    package var transparent = false
    /// May be bound to an address that the machine does not have yet (IP_FREEBIND).
    package var freebind = false
    /// Others, set in order.
    package var more = Table<SocketOption>.empty
    package init() {}
  }

  /// Opens, binds and listens. The descriptor, or minus an errno.
  package static func open(_ address: SocketAddress, _ options: Options) -> Int32 {
    let fd = fl_socket(address.family)
    guard fd >= 0 else { return fd }
    _ = fl_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1)
    if !address.isUnix && options.reusePort { _ = fl_set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) }
    if address.isIPv6 {
      _ = fl_set_int(fd, Int32(IPPROTO_IPV6), IPV6_V6ONLY, options.ipv4Compatible ? 0 : 1)
    }
    let allowed = setForeignAddresses(fd, address, options)
    guard allowed == 0 else {
      _ = close(fd)
      return allowed
    }
    if address.isUnix { removeStale(address) }
    let result = bindAndListen(fd, at: address, options)
    guard result == 0 else {
      _ = close(fd)
      return result
    }
    return fd
  }

  /// 0, or minus an errno.
  private static func bindAndListen(
    _ fd: Int32, at address: SocketAddress, _ options: Options
  ) -> Int32 {
    var result = options.more.set(.beforeBinding, on: fd)
    if result == 0 { result = unsafe address.withKernelAddress { unsafe fl_bind(fd, $0, $1) } }
    if result == 0 { result = options.more.set(.bound, on: fd) }
    guard result == 0 else { return result }
    // Before anyone can connect.
    guard setMode(address, options.unixMode), listen(fd, options.backlog) == 0 else {
      return -fl_errno()
    }
    return options.more.set(.listening, on: fd)
  }

  /// Sets what lets a socket be bound to addresses that are not this machine's; 0, or minus an errno.
  private static func setForeignAddresses(
    _ fd: Int32, _ address: SocketAddress, _ options: Options
  ) -> Int32 {
    guard !address.isUnix else { return 0 }
    var result: Int32 = 0
    if options.freebind { result = fl_set_freebind(fd, address.family) }
    if options.transparent, result == 0 { result = fl_set_transparent(fd, address.family) }
    return result
  }

  /// Where a connection was going before the kernel redirected it to us (`SO_ORIGINAL_DST`), or brought
  /// it to a transparent socket, which has that address as its own (TPROXY); nil when neither is so.
  package static func originalDestination(
    of fd: Int32, _ local: SocketAddress
  ) -> SocketAddress? {
    guard !local.isUnix else { return nil }
    var storage = sockaddr_storage()
    guard unsafe fl_original_destination(fd, local.family, &storage) == 0 else {
      return fl_is_transparent(fd, local.family) ? localAddress(of: fd) : nil
    }
    return SocketAddress(storage)
  }

  private static func setMode(_ address: SocketAddress, _ mode: UInt32) -> Bool {
    guard address.isUnix, mode != 0, !address.ip.hasPrefix("@") else { return true }
    return unsafe chmod(address.ip, mode_t(mode & 0o7777)) == 0
  }

  /// A socket that an earlier process left behind would refuse the path to us; anything but a socket
  /// stays.
  private static func removeStale(_ address: SocketAddress) {
    let path = address.ip
    var status = stat()
    guard !path.hasPrefix("@"), unsafe lstat(path, &status) == 0,
      status.st_mode & mode_t(S_IFMT) == mode_t(S_IFSOCK)
    else { return }
    _ = unsafe unlink(path)
  }

  /// The next connection and where it came from, or minus an errno: EAGAIN when there is none.
  package static func accept(_ fd: Int32, peer: inout SocketAddress) -> Int32 {
    var storage = sockaddr_storage()
    var length: UInt32 = 0
    let accepted = unsafe fl_accept(fd, &storage, &length)
    guard accepted >= 0 else { return accepted }
    peer = SocketAddress(storage)
    if !peer.isUnix { _ = fl_set_nodelay(accepted) }
    return accepted
  }

  /// Where the socket is bound: tells the port that the kernel chose, and a connection's local end.
  package static func localAddress(of fd: Int32) -> SocketAddress {
    var storage = sockaddr_storage()
    var length: UInt32 = 0
    guard unsafe fl_local_address(fd, &storage, &length) == 0 else { return SocketAddress() }
    return SocketAddress(storage)
  }

  /// An address of this machine that others can reach; nil when it has none.
  package static func machineAddress() -> SocketAddress? {
    var storage = sockaddr_storage()
    var length: UInt32 = 0
    guard unsafe fl_machine_address(&storage, &length) == 1 else { return nil }
    return SocketAddress(storage)
  }
}
