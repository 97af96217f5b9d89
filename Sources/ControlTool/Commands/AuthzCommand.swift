import ArgumentParser

/// `fairleadctl authz`.
struct AuthzCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "authz", abstract: "Look at who may speak to a workload.",
    subcommands: [AuthzCheckCommand.self])
}

/// `fairleadctl authz check`.
struct AuthzCheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Show the authorization policies that a proxy keeps, and what each does.",
    discussion: """
      Of the filters that the proxy runs with, not of what was written: a policy that is missing here has \
      not come, or is for others.
      """)

  @OptionGroup var source: ProxySource
  @OptionGroup var table: TableOptions

  func run() throws {
    let policies = AuthorizationTable.policies(try source.open().configDump())
    guard table.output == .short else {
      let entries = policies.map { policy in
        JSONValue.object([
          JSONMember("action", .string(policy.action)),
          JSONMember("policy", .string(policy.name)),
          JSONMember("rules", .number("\(policy.rules)")),
          JSONMember("dryRun", .bool(policy.isShadow)),
        ])
      }
      return Console.write(table.output.text(.array(entries)))
    }
    if policies.isEmpty { Console.note("note: everybody may: the proxy keeps no policy") }
    Console.write(AuthorizationTable.text(policies))
  }
}
