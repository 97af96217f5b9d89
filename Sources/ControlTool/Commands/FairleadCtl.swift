import ArgumentParser

/// The command line.
package struct FairleadCtl: ParsableCommand {
  package static let version = "0.1.0"

  package static let configuration = CommandConfiguration(
    commandName: "fairleadctl",
    abstract: "Runs a mesh on this machine; looks into proxies and their control plane.",
    discussion: """
      Exit codes: 0 done; 1 it could not be done, and the message says what would help; \
      2 what was compared differs; \
      64 the command line is wrong; 79 'analyze' has found something.
      """,
    version: "fairleadctl  version: \(version)",
    subcommands: [
      UpCommand.self, DownCommand.self, ApplyCommand.self, GetCommand.self, DeleteCommand.self,
      DiffCommand.self, WaitCommand.self, HistoryCommand.self, RollbackCommand.self,
      ProxyConfigCommand.self, ProxyStatusCommand.self, DescribeCommand.self, AuthzCommand.self,
      ValidateCommand.self, AnalyzeCommand.self,
      VersionCommand.self, CompletionCommand.self,
    ])

  package init() {}

  /// Runs what the command line says, and ends the process.
  package static func start() -> Never {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let error as ToolError {
      Console.note(error.description)
      exit(withError: ExitCode(1))
    } catch {
      exit(withError: error)
    }
    exit()
  }
}
