/// A family of messages that objects of a file are read as, such as Istio's and Kubernetes'.
package struct ObjectSchema: Sendable {
  let catalog: SchemaCatalog

  /// - Parameters:
  ///   - table: the messages, in the form that `SchemaCatalog` reads.
  ///   - names: what the published API has besides, in the form that `PublishedNames` reads.
  ///   - owner: whose API it is, as refusals call it.
  ///   - openPackage: the beginning of the names of messages that have more fields than are modelled;
  ///     those are passed over.
  package init(
    table: StaticString, names: StaticString, owner: String, openPackage: String
  ) {
    let published = PublishedNames(names.description)
    catalog = SchemaCatalog(
      parsing: table.description,
      dialect: SchemaDialect(owner: owner, openPackage: openPackage, hasGoDurations: true) {
        published
      })
  }

  /// Envoy's API in full: what people may write that nothing here reads.
  /// - Parameters:
  ///   - table: as above.
  ///   - gaps: what the current Envoy has besides, in the form that `PublishedNames` reads.
  package init(wholeEnvoy table: StaticString, gaps: StaticString) {
    let names = PublishedNames(gaps.description)
    catalog = SchemaCatalog(
      parsing: table.description,
      dialect: SchemaDialect(owner: "Envoy", takesEveryExtension: true) { names })
  }
}
