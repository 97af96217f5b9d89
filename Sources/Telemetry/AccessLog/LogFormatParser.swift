import Glibc

/// Cuts a format string into text and commands: `%NAME(argument):length%`.
struct LogFormatParser {
  enum Part {
    case text([UInt8])
    case command(Command)
  }

  /// One operator as written.
  struct Command {
    var name: String
    /// What stands in parentheses; nil without them, and for empty ones.
    var argument: String?
    var length: UInt32?
    var meaning: LogOperators.Meaning
  }

  /// A value known at compile time; nil for one known to be absent.
  struct FixedText {
    var value: String?
  }

  static func parse(_ format: String) throws(LogFormatError) -> [Part] {
    var parts: [Part] = []
    var text: [UInt8] = []
    let bytes = Array(format.utf8)
    var position = 0
    while position < bytes.count {
      guard bytes[position] == UInt8(ascii: "%") else {
        text.append(bytes[position])
        position += 1
        continue
      }
      if position + 1 < bytes.count, bytes[position + 1] == UInt8(ascii: "%") {
        text.append(UInt8(ascii: "%"))
        position += 2
        continue
      }
      if !text.isEmpty { parts.append(.text(text)) }
      text = []
      parts.append(.command(try takeCommand(bytes, &position)))
    }
    if !text.isEmpty { parts.append(.text(text)) }
    return parts
  }

  private static func takeCommand(
    _ bytes: [UInt8], _ position: inout Int
  ) throws(LogFormatError) -> Command {
    let start = position
    let malformed = LogFormatError(
      "no operator can be read at byte \(start) of the format; write %% for a percent sign")
    position += 1
    let name = take(bytes, &position) { byte in
      (0x41...0x5A).contains(byte) || (0x30...0x39).contains(byte) || byte == UInt8(ascii: "_")
    }
    guard !name.isEmpty else { throw malformed }
    var argument: String?
    if position < bytes.count, bytes[position] == UInt8(ascii: "(") {
      position += 1
      argument = take(bytes, &position) { $0 != UInt8(ascii: ")") }
      guard position < bytes.count else { throw malformed }
      position += 1
    }
    var length: UInt32?
    if position < bytes.count, bytes[position] == UInt8(ascii: ":") {
      position += 1
      let digits = take(bytes, &position) { (0x30...0x39).contains($0) }
      guard let number = UInt32(digits) else { throw malformed }
      length = number
    }
    guard position < bytes.count, bytes[position] == UInt8(ascii: "%") else { throw malformed }
    position += 1
    return try check(name: name, argument: argument, length: length)
  }

  private static func take(
    _ bytes: [UInt8], _ position: inout Int, while condition: (UInt8) -> Bool
  ) -> String {
    let start = position
    while position < bytes.count, condition(bytes[position]) { position += 1 }
    return String(decoding: bytes[start..<position], as: UTF8.self)
  }

  private static func check(
    name: String, argument: String?, length: UInt32?
  ) throws(LogFormatError) -> Command {
    guard let (meaning, form) = LogOperators.all[name] else {
      let known = LogOperators.all.filter { entry in
        if case .unsupported = entry.value.meaning { return false }
        return true
      }
      let nearest = NearestName.of(name, among: known.keys).map { "; did you mean %\($0)%?" }
      throw LogFormatError("%\(name)% is not an operator\(nearest ?? "")")
    }
    if case .unsupported(let reason) = meaning {
      throw LogFormatError(
        "%\(name)% is an operator of Envoy that is not supported here: \(reason)",
        isKnownToEnvoy: true)
    }
    let argument = argument == "" ? nil : argument
    switch form {
    case .bare where argument != nil || length != nil:
      throw LogFormatError("%\(name)% takes neither parentheses nor a length")
    case .optional where length != nil: throw LogFormatError("%\(name)% takes no length")
    case .required where argument == nil:
      throw LogFormatError("%\(name)% needs something in parentheses")
    default: break
    }
    return Command(name: name, argument: argument, length: length, meaning: meaning)
  }
}

extension LogFormatParser.Command {
  /// The value of operators that never change while the process runs.
  func fixedText() throws(LogFormatError) -> LogFormatParser.FixedText? {
    switch meaning {
    case .hostname: return LogFormatParser.FixedText(value: Self.hostname)
    case .environment:
      let value = unsafe argument.flatMap { unsafe getenv($0) }.map { unsafe String(cString: $0) }
      let cut = value.map { text in
        length.map { String(decoding: Array(text.utf8.prefix(Int($0))), as: UTF8.self) } ?? text
      }
      // As in Envoy, a variable that is not set is a value: a hyphen.
      return LogFormatParser.FixedText(value: cut ?? "-")
    default: return nil
    }
  }

  private static let hostname: String? = {
    // The longest name that Linux allows, and its end.
    unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 65) { buffer in
      guard let base = buffer.baseAddress, unsafe gethostname(base, 65) == 0 else { return nil }
      unsafe buffer[64] = 0
      return unsafe String(cString: base)
    }
  }()
}
