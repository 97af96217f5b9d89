import FilterSDK

/// `envoy.type.matcher.v3.StringMatcher` without regular expressions.
struct NameMatcher: BitwiseCopyable {
  enum Part: BitwiseCopyable {
    case exact
    case prefix
    case suffix
    case contains
  }

  let kind: PeerName
  let part: Part
  let text: ByteView
  let ignoresCase: Bool

  func matches(_ name: ByteView) -> Bool {
    guard name.count >= text.count else { return false }
    switch part {
    case .exact: return name.count == text.count && isText(name)
    case .prefix: return isText(name[0..<text.count])
    case .suffix: return isText(name[(name.count - text.count)..<name.count])
    case .contains:
      return (0...(name.count - text.count)).contains { isText(name[$0..<($0 + text.count)]) }
    }
  }

  private func isText(_ piece: ByteView) -> Bool {
    ignoresCase ? piece.equalsIgnoringCase(text) : piece == text
  }
}
