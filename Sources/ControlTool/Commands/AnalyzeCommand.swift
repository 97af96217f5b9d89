import ArgumentParser
import Glibc
import MeshAnalysis
import MeshModel
import MeshTranslation

/// `fairleadctl analyze`.
struct AnalyzeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "analyze",
    abstract: "Look for what is wrong or doubtful in the mesh as a whole.",
    discussion: """
      With files, they are all there is; without, the control plane is asked. Codes are Istio's (IST…) and \
      ours (FLC…); docs/analysis.md explains each. The exit code is 79 when a message is at least as bad as \
      --failure-threshold.
      """)

  /// istioctl's code for "something was found".
  static let found = ExitCode(79)

  @Argument(help: "Files, directories (looked into wholly), or - for standard input.")
  var files: [String] = []

  @Option(name: [.short, .long], help: "How to write the answer: log, json or yaml.")
  var output = AnalysisReport.Form.log

  @Option(name: [.short, .long], help: "The namespace whose objects are shown.")
  var namespace = "default"

  @Flag(name: [.customShort("A"), .long], help: "Show objects of all namespaces.")
  var allNamespaces = false

  @Option(help: "From which level on the exit code is 79: Info, Warning or Error.")
  var failureThreshold = AnalysisCode.Level.error

  @Option(help: "From which level on messages are shown: Info, Warning or Error.")
  var outputThreshold = AnalysisCode.Level.info

  @Option(
    name: [.customShort("S"), .long],
    help: ArgumentHelp(
      "What not to tell of: IST0118=\"Service web.default\"; * stands for anything.",
      valueName: "code=resource"))
  var suppress: [Suppression] = []

  @Option(
    help: ArgumentHelp(
      "With files: clients that rules are for. What they cannot do is told (FLC0002).",
      valueName: "fairlead|envoy|grpc"))
  var client: [ProxyNode.Client] = []

  @Option(help: "With files: what ports carry whose names say nothing: tcp or auto.")
  var protocolDetection = PortProtocol.tcp

  @Flag(name: [.customShort("L"), .long], help: "List the codes, and do nothing else.")
  var listAnalyzers = false

  @Option(help: "Colours: true or false; where the answer goes to a terminal by default.")
  var color: Bool?

  @OptionGroup var control: ControlOption

  func validate() throws {
    guard protocolDetection == .tcp || protocolDetection == .auto else {
      throw ValidationError("--protocol-detection is tcp or auto")
    }
  }

  func run() throws {
    if listAnalyzers { return Self.list() }
    for one in suppress where !AnalysisCode.all.contains(where: { $0.code == one.code }) {
      Console.note("note: there is no code '\(one.code)': --suppress \(one.code)=… does nothing")
    }
    let everything = try files.isEmpty ? live() : offline()
    let wanted = everything.without(suppress)
    let report = wanted.inside(allNamespaces ? nil : namespace)
    let shown = report.atLeast(outputThreshold)
    Console.write(shown.text(output, isColored: color ?? Self.isTerminal))
    let elsewhere = wanted.messages.count - report.messages.count
    if elsewhere > 0 {
      Console.note(
        "note: \(elsewhere) \(elsewhere == 1 ? "message is" : "messages are") about other namespaces "
          + "than '\(namespace)': -A shows them")
    }
    if shown.messages.isEmpty {
      Console.note(
        "No validation issues found when analyzing \(files.isEmpty ? "the mesh" : files.joined(separator: ", "))."
      )
    }
    guard report.atLeast(failureThreshold).messages.isEmpty else { throw Self.found }
  }

  private static var isTerminal: Bool {
    isatty(STDOUT_FILENO) == 1 && FilePath.variable("TERM") != "dumb"
      && FilePath.variable("NO_COLOR") == nil
  }

  private static func list() {
    var table = TextTable("CODE", "LEVEL", "NAME")
    for code in AnalysisCode.all { table.append(code.code, code.level.rawValue, code.name) }
    Console.write(table.text)
  }

  private func offline() throws(ToolError) -> AnalysisReport {
    let contents = try ObjectFiles.contents(files, isRecursive: true)
    var store = MeshStore(check: ObjectCheck.check)
    _ = store.update(contents)
    var options = RegistryOptions()
    options.unnamedPorts = protocolDetection
    var input = AnalysisInput(store, options: options)
    input.isOffline = true
    for client in client.isEmpty ? [.fairlead] : client { input.assume(client) }
    return AnalysisReport(Analysis.locate(Analysis.run(input), in: contents))
  }

  /// How long a control plane may take to look at its last change, in tenths of a second.
  private static let patience = 100

  private func live() throws(ToolError) -> AnalysisReport {
    let plane = try control.client
    var document = try plane.analysis()
    for _ in 0..<Self.patience where document["pending"].boolValue == true {
      usleep(100_000)
      document = try plane.analysis()
    }
    return AnalysisReport(document)
  }
}

extension AnalysisReport.Form: ExpressibleByArgument {}

extension AnalysisCode.Level: ExpressibleByArgument {
  /// Case does not matter.
  package init?(argument: String) {
    guard
      let level = Self.allCases.first(where: {
        $0.rawValue.lowercased() == argument.lowercased()
      })
    else { return nil }
    self = level
  }
}

extension Suppression: ExpressibleByArgument {
  package init?(argument: String) { self.init(argument) }
}

extension ProxyNode.Client: ExpressibleByArgument {}

extension PortProtocol: ExpressibleByArgument {
  package init?(argument: String) {
    switch argument {
    case "tcp": self = .tcp
    case "auto": self = .auto
    default: return nil
    }
  }
}
