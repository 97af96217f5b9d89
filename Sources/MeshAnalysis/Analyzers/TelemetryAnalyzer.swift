import MeshMessages
import MeshModel
import MeshTranslation
import Resources

/// Telemetries: whom they select, and to whom they have something logged.
enum TelemetryAnalyzer {
  static func analyze(_ context: AnalysisContext) {
    let rules = context.snapshot.telemetries
    SelectionCheck(
      plural: "Telemetries", selector: .root["spec"]["selector"],
      conflicting: .conflictingTelemetries, multiple: .multipleTelemetries
    ).run(
      rules.filter { !$0.isByReference }.map { ($0.object, $0.spec.selector.matchLabels) },
      context)
    for rule in rules {
      for (index, entry) in rule.spec.accessLogging.enumerated() {
        let place = ConfigPath.root["spec"]["accessLogging"][index]["providers"]
        for (number, provider) in entry.providers.enumerated()
        where !context.snapshot.settings.hasProvider(provider.name) {
          context.report(
            .referencedResourceNotFound, rule.object, place[number],
            "Referenced provider not found: \(Words.quoted(provider.name))")
        }
      }
    }
  }
}
