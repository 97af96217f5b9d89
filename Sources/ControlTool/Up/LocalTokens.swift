import CLinux
import Glibc

/// Makes a join token for each service account of a local mesh, with the control plane's own program: it
/// says who a proxy is that asks for its first certificate.
struct LocalTokens {
  let control: String
  let environment: [String]
  let runtime: RuntimeDirectory
  let workloads: [LocalWorkload]

  /// Where the token of a workload lies.
  static func file(of workload: LocalWorkload, in runtime: RuntimeDirectory) -> String {
    "\(runtime.tokens)/\(workload.namespace).\(workload.serviceAccount)"
  }

  /// Writes them; waits for it.
  func make() throws(ToolError) {
    var made: Set<String> = []
    for workload in workloads {
      let file = Self.file(of: workload, in: runtime)
      guard made.insert(file).inserted else { continue }
      let words = [
        control, "--mode", "token", "--ca-dir", runtime.authority, "--token-for",
        "\(workload.namespace)/\(workload.serviceAccount)", "--token-reusable", "--token-ttl",
        "24h",
      ]
      // Nobody reads it before it is whole: what is to read it is started later.
      let text = (words + environment).map { $0 + "\0" }.joined()
      let process = unsafe fl_spawn(text, words.count, environment.count, "/", file, true)
      guard process > 0 else {
        throw ToolError("'\(control)' cannot be started: \(FilePath.reason(-process))")
      }
      var status: Int32 = 0
      while unsafe waitpid(process, &status, 0) < 0, errno == EINTR {}
      guard status == 0 else {
        let said = LogReader.end(of: file, lines: 3).joined(separator: " ")
        throw ToolError("no token can be made for \(workload.fullName): \(said)")
      }
    }
  }
}
