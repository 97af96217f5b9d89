/// Why a command could not do what it was told, and what to do about it.
package struct ToolError: Error, Equatable, CustomStringConvertible {
  package let problem: String
  package let remedy: String?

  package init(_ problem: String, remedy: String? = nil) {
    self.problem = problem
    self.remedy = remedy
  }

  package var description: String {
    remedy.map { "error: \(problem)\n  \($0)" } ?? "error: \(problem)"
  }
}
