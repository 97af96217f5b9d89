import HTTPCodec
import ResourceModel

/// What `http2_protocol_options` say, of a listener's clients or of a cluster's hosts.
package enum HTTP2Compiler {
  package typealias Message = Envoy_Config_Core_V3_Http2ProtocolOptions

  package static func options(_ message: Message, role: HTTP2Options.Role) -> HTTP2Options {
    var options = HTTP2Options()
    options.role = role
    if message.hasHpackTableSize { options.headerTableSize = message.hpackTableSize.value }
    if message.hasMaxConcurrentStreams {
      options.maxConcurrentStreams = message.maxConcurrentStreams.value
    }
    if message.hasInitialStreamWindowSize {
      options.streamWindow = message.initialStreamWindowSize.value
    }
    if message.hasInitialConnectionWindowSize {
      options.connectionWindow = message.initialConnectionWindowSize.value
    }
    options.allowsConnect = message.allowConnect
    options.staysOpenAfterError = message.overrideStreamErrorOnInvalidHTTPMessage.value
    options.limits = limits(message)
    return options
  }

  private static func limits(_ message: Message) -> HTTP2Budget.Limits {
    var limits = HTTP2Budget.Limits()
    if message.hasMaxOutboundFrames { limits.outboundFrames = message.maxOutboundFrames.value }
    if message.hasMaxOutboundControlFrames {
      limits.outboundControlFrames = message.maxOutboundControlFrames.value
    }
    if message.hasMaxConsecutiveInboundFramesWithEmptyPayload {
      limits.emptyFrames = message.maxConsecutiveInboundFramesWithEmptyPayload.value
    }
    if message.hasMaxInboundPriorityFramesPerStream {
      limits.priorityFramesPerStream = message.maxInboundPriorityFramesPerStream.value
    }
    if message.hasMaxInboundWindowUpdateFramesPerDataFrameSent {
      limits.windowUpdatesPerDataFrame =
        message.maxInboundWindowUpdateFramesPerDataFrameSent.value
    }
    return limits
  }

  package static func keepalive(_ message: Message) -> HTTP2Keepalive {
    var keepalive = HTTP2Keepalive()
    guard message.hasConnectionKeepalive else { return keepalive }
    let settings = message.connectionKeepalive
    keepalive.interval = settings.interval.milliseconds
    keepalive.timeout = settings.timeout.milliseconds
    if settings.hasIntervalJitter {
      keepalive.jitter = UInt64(min(max(settings.intervalJitter.value, 0), 100))
    }
    return keepalive
  }
}
