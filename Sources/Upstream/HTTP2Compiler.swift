import HTTPCodec
import ResourceModel
import Resources

/// What `http2_protocol_options` say, of a listener's clients or of a cluster's hosts.
package enum HTTP2Compiler {
  package typealias Message = Envoy_Config_Core_V3_Http2ProtocolOptions

  package static func options(_ message: Message, role: HTTP2Options.Role) -> HTTP2Options {
    var options = HTTP2Options()
    options.role = role
    options.headerTableSize =
      message.hasHpackTableSize ? message.hpackTableSize.value : Defaults.http2HeaderTableSize
    options.maxConcurrentStreams =
      message.hasMaxConcurrentStreams
      ? message.maxConcurrentStreams.value : Defaults.http2ConcurrentStreams
    options.streamWindow =
      message.hasInitialStreamWindowSize
      ? message.initialStreamWindowSize.value : Defaults.http2StreamWindow
    options.connectionWindow =
      message.hasInitialConnectionWindowSize
      ? message.initialConnectionWindowSize.value : Defaults.http2ConnectionWindow
    options.allowsConnect = message.allowConnect
    options.staysOpenAfterError = message.overrideStreamErrorOnInvalidHTTPMessage.value
    options.limits = limits(message)
    return options
  }

  private static func limits(_ message: Message) -> HTTP2Budget.Limits {
    var limits = HTTP2Budget.Limits()
    limits.outboundFrames =
      message.hasMaxOutboundFrames
      ? message.maxOutboundFrames.value : Defaults.http2OutboundFrames
    limits.outboundControlFrames =
      message.hasMaxOutboundControlFrames
      ? message.maxOutboundControlFrames.value : Defaults.http2OutboundControlFrames
    limits.emptyFrames =
      message.hasMaxConsecutiveInboundFramesWithEmptyPayload
      ? message.maxConsecutiveInboundFramesWithEmptyPayload.value : Defaults.http2EmptyFrames
    limits.priorityFramesPerStream =
      message.hasMaxInboundPriorityFramesPerStream
      ? message.maxInboundPriorityFramesPerStream.value : Defaults.http2PriorityFramesPerStream
    limits.windowUpdatesPerDataFrame =
      message.hasMaxInboundWindowUpdateFramesPerDataFrameSent
      ? message.maxInboundWindowUpdateFramesPerDataFrameSent.value
      : Defaults.http2WindowUpdatesPerDataFrame
    return limits
  }

  package static func keepalive(_ message: Message) -> HTTP2Keepalive {
    var keepalive = HTTP2Keepalive()
    guard message.hasConnectionKeepalive else { return keepalive }
    let settings = message.connectionKeepalive
    keepalive.interval = settings.interval.milliseconds
    keepalive.timeout = settings.timeout.milliseconds
    let jitter =
      settings.hasIntervalJitter ? settings.intervalJitter.value : Defaults.http2KeepaliveJitter
    keepalive.jitter = UInt64(min(max(jitter, 0), 100))
    return keepalive
  }
}
