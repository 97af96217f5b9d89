import Engine
import HTTPCodec
import HTTPModel
import Routing

// What a request is for: its target, its host, and how both are written.
extension Ref where Value == RequestStream {
  // MARK: Syntax

  /// What Envoy's codec refuses before there is a request at all, in its order.
  func checkSyntax(method: Bytes, target: Bytes) -> Bool {
    guard MethodRules.isKnown(method) else { return refuseSyntax("http1.codec_error") }
    if method == "CONNECT" {
      guard HostRules.isValid(target) else { return refuseSyntax("http1.codec_error") }
    } else if target[0] != UInt8(ascii: "/"), !checkForm(of: target, method) {
      return false
    }
    guard checkConnection(), manager.value.underscores == .allow || checkUnderscores() else {
      return false
    }
    // Two hosts, or one that is none, are how one proxy sees another site than the next one does
    // (RFC 9112 §3.2).
    if let host = value.requestHead[.host] {
      guard !value.requestHead.isRepeated(.host), HostRules.isValid(host) else {
        return refuseSyntax("http1.codec_error")
      }
    }
    guard value.minor == 1 || manager.value.acceptsHTTP10 else { return refuseVersion() }
    return true
  }

  /// The absolute and the asterisk form (RFC 9112 §3.2).
  private func checkForm(of target: Bytes, _ method: Bytes) -> Bool {
    if target == "*" {
      if method == "OPTIONS" { return true }
      return refuseSyntax("http1.invalid_url")
    }
    guard manager.value.allowsAbsoluteURL else { return true }
    guard let rest = afterScheme(target) else {
      return refuseSyntax(
        target.range(of: Bytes("://")) != nil ? "http1.invalid_scheme" : "http1.codec_error")
    }
    guard HostRules.isValid(authority(of: rest)), !authority(of: rest).isEmpty else {
      return refuseSyntax("http1.codec_error")
    }
    return true
  }

  /// `Connection` may not name what addresses the message, or says where it came from: whoever takes
  /// that away changes what the next hop believes.
  private func checkConnection() -> Bool {
    guard value.requestHead.mayHave(anyOf: HeaderIDSet(.connection)) else { return true }
    var position = 0
    while let index = value.requestHead.find(
      HeaderID.connection.name, id: .connection, from: position)
    {
      var list = TokenList(value.requestHead.value(index))
      while let token = list.next() {
        if token.equalsIgnoringCase("host") || token.hasPrefixIgnoringCase(Bytes("x-forwarded-")) {
          return refuseSyntax("http1.connection_header_rejected")
        }
      }
      position = index + 1
    }
    return true
  }

  func checkUnderscores() -> Bool {
    let rejects = manager.value.underscores == .reject
    var index = 0
    while index < value.requestHead.count {
      let entry = value.requestHead.entry(index)
      if entry.id == .other, !entry.isRemoved,
        value.requestHead.name(index).firstIndex(of: UInt8(ascii: "_")) != nil
      {
        if rejects {
          worker.value.stats.add(manager.value.stats.value.underscoreRejected)
          return refuseSyntax("http1.unexpected_underscore")
        }
        worker.value.stats.add(manager.value.stats.value.underscoreDropped)
        value.requestHead.remove(at: index)
      }
      index += 1
    }
    return true
  }

  private func afterScheme(_ target: Bytes) -> Bytes? {
    if target.hasPrefixIgnoringCase(Bytes("http://")) { return target.dropFirst(7) }
    if target.hasPrefixIgnoringCase(Bytes("https://")) { return target.dropFirst(8) }
    return nil
  }

  /// The authority in front of a path or query. User information makes it no host: RFC 9110 §4.2.4
  /// wants a warning, and what to warn of is refused here.
  private func authority(of rest: Bytes) -> Bytes { rest.prefix(pathStart(of: rest)) }

  private func pathStart(of rest: Bytes) -> Int {
    min(
      rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.count,
      rest.firstIndex(of: UInt8(ascii: "?")) ?? rest.count)
  }

  // MARK: Target and host

  /// The path of the target; of an absolute one, its authority replaces Host (RFC 9112 §3.2.2).
  func takeTarget(_ target: Bytes) -> Bool {
    if target[0] == UInt8(ascii: "/") {
      adoptPseudo(.path, worker.value.parser.target)
    } else if target == "*" || !manager.value.allowsAbsoluteURL {
      adoptPseudo(.path, worker.value.parser.target)
      return refuseRelative()
    } else if let rest = afterScheme(target) {
      let path = rest.dropFirst(pathStart(of: rest))
      let host = authority(of: rest)
      value.requestHead.set(.host, host, from: &loop.state.value.blocks)
      value.schemeIsSecure = target[4] | 32 == UInt8(ascii: "s")
      setField(.path, path.isEmpty ? Bytes("/") : path)
      guard path.isEmpty || path[0] == UInt8(ascii: "/") else {
        setField(.scheme, value.schemeIsSecure ? Bytes("https") : Bytes("http"))
        return refuseRelative()
      }
    }
    return true
  }

  /// A path that begins with no slash can match no route.
  private func refuseRelative() -> Bool {
    countNonRelativePath()
    if let host = value.requestHead.find(.host) {
      value.requestHead.rename(host, toPseudo: .authority)
    }
    replyLocally(LocalReply(404, "", "absolute_path_rejected"))
    return false
  }

  func takeHost() -> Bool {
    if let index = value.requestHead.find(.host) {
      value.requestHead.rename(index, toPseudo: .authority)
      return true
    }
    if value.minor == 0, !manager.value.defaultHost.isEmpty {
      setField(.authority, manager.value.defaultHost)
      return true
    }
    replyLocally(.missingHost)
    return false
  }

  func normalizeHost() {
    let manager = self.manager
    guard manager.value.changesHost, let index = value.requestHead.find(.authority) else { return }
    var host = value.requestHead.value(index)
    if manager.value.stripsTrailingDot {
      if let dot = HostRules.dotBeforePort(host) {
        removeByte(at: dot, of: index)
        host = value.requestHead.value(index)
      }
      host = HostRules.withoutTrailingDot(host)
    }
    if manager.value.stripsAnyPort {
      host = HostRules.withoutPort(host)
    } else if manager.value.stripsMatchingPort, let downstream = value.downstream,
      HostRules.port(of: host) == Int(downstream.value.local.port)
    {
      host = HostRules.withoutPort(host)
    }
    guard host.count != value.requestHead.value(index).count else { return }
    value.requestHead.replace(index, host, from: &loop.state.value.blocks)
  }

  /// Leaves one byte of a field's value out.
  private func removeByte(at place: Int, of index: Int) {
    let text = value.requestHead.value(index)
    let block = loop.state.value.blocks.take(min(max(text.count, 1), BlockPool.largest))
    _ = block.append(text[0, place])
    _ = block.append(text.dropFirst(place + 1))
    value.requestHead.replace(index, block.bytes(), from: &loop.state.value.blocks)
    loop.state.value.blocks.release(block)
  }

  // MARK: Path

  func normalizePath() -> Bool {
    guard let path = value.requestHead[.path], !PathNormalizer.isPlain(path) else { return true }
    guard path.firstIndex(of: UInt8(ascii: "#")) == nil else {
      worker.value.stats.add(manager.value.stats.value.rqFailedNormalization)
      replyLocally(LocalReply(400, "", "path_normalization_failed", closes: true))
      return false
    }
    let rules = manager.value.pathRules
    let block = loop.state.value.blocks.take(min(path.count * 3 + 64, BlockPool.largest))
    defer { loop.state.value.blocks.release(block) }
    var out = unsafe ByteWriter(base: block.base, capacity: block.capacity)
    let outcome = rules.apply(to: path, writingTo: &out)
    switch outcome {
    case .unchanged: return true
    case .changed:
      setField(.path, out.written)
      return true
    case .rejected:
      if !out.written.isEmpty { setField(.path, out.written) }
      worker.value.stats.add(manager.value.stats.value.rqFailedNormalization)
      replyLocally(.pathRejected)
      return false
    case .redirect:
      setField(.path, out.written)
      worker.value.stats.add(manager.value.stats.value.rqRedirectedNormalized)
      redirectToNormalized(out.written)
      return false
    }
  }

  private func redirectToNormalized(_ path: Bytes) {
    value.replyHead.open(from: &loop.state.value.blocks)
    value.replyHead.set(.location, path, from: &loop.state.value.blocks)
    value.replyStatus = 307
    value.details = Bytes("path_normalization_failed")
    startFilterReply()
  }
}
