import ArgumentParser

/// Where the control plane is.
struct ControlOption: ParsableArguments {
  @Option(help: "The control plane's HTTP port, for proxies given by name.")
  var control = ControlPlaneClient.defaultAddress

  var client: ControlPlaneClient {
    get throws(ToolError) {
      guard let address = HTTPAddress(control) else {
        throw ToolError(
          "'\(control)' is no address", remedy: "Say an address and a port: 127.0.0.1:15014.")
      }
      return ControlPlaneClient(address)
    }
  }
}
