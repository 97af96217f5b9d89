/// What is peculiar to a family of messages, besides the messages.
struct SchemaDialect: Sendable {
  /// Whose API it is, as refusals call it.
  let owner: String
  /// Messages of this package have more fields than we model, and those say nothing to us: they are
  /// passed over. Nil when every field counts.
  let openPackage: String?
  /// Durations may have Go's units, as in `1h30m` or `10ms`, and not seconds alone.
  let hasGoDurations: Bool
  /// An `Any` may hold any message that there is, and not only what Fairlead knows at its place.
  let takesEveryExtension: Bool
  /// Which fields the API has besides those modelled.
  private let publishedNames: @Sendable () -> PublishedNames

  var names: PublishedNames { publishedNames() }

  init(
    owner: String, openPackage: String? = nil, hasGoDurations: Bool = false,
    takesEveryExtension: Bool = false, names: @escaping @Sendable () -> PublishedNames
  ) {
    self.owner = owner
    self.openPackage = openPackage
    self.hasGoDurations = hasGoDurations
    self.takesEveryExtension = takesEveryExtension
    publishedNames = names
  }

  /// Envoy's v3 API.
  static let envoy = SchemaDialect(owner: "Envoy") { PublishedNames.envoy }
}
