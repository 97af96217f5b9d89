import ArgumentParser

/// `fairleadctl describe`.
struct DescribeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "describe",
    abstract: "Say what the mesh makes of a workload or a service, and which rules are for it.")

  enum Kind: String, ExpressibleByArgument, CaseIterable {
    case pod
    case service
    case svc
  }

  @Argument(help: "pod or service.")
  var kind: Kind

  @Argument(help: "Its name, which may end with .NAMESPACE.")
  var name: String

  @Option(name: [.short, .long], help: "Its namespace.")
  var namespace: String?

  @OptionGroup var control: ControlOption

  func run() throws {
    let parts = name.split(separator: ".").map(String.init)
    let place = namespace ?? (parts.count == 2 ? parts[1] : "default")
    let answer = try control.objects.get(
      "describe",
      [
        ("kind", kind == .pod ? "pod" : "service"),
        ("name", namespace == nil ? parts.first ?? name : name), ("namespace", place),
      ])
    Console.write(answer["lines"].texts.map { $0 + "\n" }.joined())
  }
}
