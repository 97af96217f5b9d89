/// Finds the admin port of a process on this machine: one of the TCP ports that it listens on, and
/// the one that knows what a proxy's admin port knows.
enum ProcessLookup {
  static func admin(of process: Int) throws(ToolError) -> HTTPAddress {
    let sockets = sockets(of: process)
    guard !sockets.isEmpty else {
      throw ToolError(
        "no process \(process) with sockets can be seen",
        remedy: "Its owner, or root, can see them; 'pgrep -a fairlead' lists proxies.")
    }
    let ports = try listening(of: process, sockets)
    for address in ports {
      let answer = try? HTTPClient(address).get("/server_info")
      if let answer, answer.status == 200, answer.text.contains("command_line_options") {
        return address
      }
    }
    let seen = ports.map(\.description).joined(separator: ", ")
    throw ToolError(
      "process \(process) has no admin port; it listens on \(seen.isEmpty ? "none" : seen)",
      remedy: "Add 'admin: {address: …}' to its bootstrap.")
  }

  /// Inodes of the sockets that a process has open.
  private static func sockets(of process: Int) -> Set<String> {
    let folder = "/proc/\(process)/fd"
    return Set(
      FileText.names(in: folder).compactMap { name in
        guard let target = FileText.target(of: "\(folder)/\(name)"), target.hasPrefix("socket:[")
        else { return nil }
        return String(target.dropFirst("socket:[".count).dropLast())
      })
  }

  /// Loopback first: admin ports seldom stand elsewhere.
  private static func listening(
    of process: Int, _ sockets: Set<String>
  ) throws(ToolError) -> [HTTPAddress] {
    let four = try FileText.read("/proc/\(process)/net/tcp")
    let six = (try? FileText.read("/proc/\(process)/net/tcp6")) ?? []
    let all = addresses(in: four, of: sockets) + addresses(in: six, of: sockets)
    let unique = all.enumerated().filter { all.firstIndex(of: $1) == $0 }.map(\.element)
    return unique.filter { $0.host == "127.0.0.1" || $0.host == "::1" }
      + unique.filter { $0.host != "127.0.0.1" && $0.host != "::1" }
  }

  /// Listening sockets of a table in `/proc/net`; what listens everywhere is asked on loopback.
  static func addresses(in table: [UInt8], of sockets: Set<String>) -> [HTTPAddress] {
    String(decoding: table, as: UTF8.self).split(separator: "\n").dropFirst().compactMap { line in
      let fields = line.split(separator: " ")
      // 0A is LISTEN.
      guard fields.count > 9, fields[3] == "0A", sockets.contains(String(fields[9])) else {
        return nil
      }
      let parts = fields[1].split(separator: ":")
      guard parts.count == 2, let port = UInt16(parts[1], radix: 16), let host = host(parts[0])
      else { return nil }
      return HTTPAddress(host: host, port: port)
    }
  }

  /// Words of 32 bits, each written by a machine whose lowest byte comes first.
  private static func host(_ digits: Substring) -> String? {
    if digits.count == 32 {
      if digits.allSatisfy({ $0 == "0" }) { return "::1" }
      return digits == "00000000000000000000000001000000" ? "::1" : nil
    }
    guard digits.count == 8, let word = UInt32(digits, radix: 16) else { return nil }
    guard word != 0 else { return "127.0.0.1" }
    return (0..<4).map { String(word >> UInt32(8 * $0) & 0xff) }.joined(separator: ".")
  }
}
