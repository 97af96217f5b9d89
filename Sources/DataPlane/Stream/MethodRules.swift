import Engine

/// Which methods are HTTP requests to us.
enum MethodRules {
  /// The registered ones that Envoy knows. What else stands at the beginning of a line is more often
  /// the rest of a body than a method.
  static func isKnown(_ method: Bytes) -> Bool {
    switch method.count {
    case 3: method == "GET" || method == "PUT" || method == "ACL"
    case 4:
      method == "POST" || method == "HEAD" || method == "BIND" || method == "COPY"
        || method == "LINK" || method == "LOCK" || method == "MOVE"
    case 5:
      method == "PATCH" || method == "TRACE" || method == "MERGE" || method == "MKCOL"
        || method == "PURGE"
    case 6:
      method == "DELETE" || method == "NOTIFY" || method == "REBIND" || method == "REPORT"
        || method == "SEARCH" || method == "SOURCE" || method == "UNBIND" || method == "UNLINK"
        || method == "UNLOCK"
    case 7: method == "OPTIONS" || method == "CONNECT"
    case 8: method == "CHECKOUT" || method == "M-SEARCH" || method == "PROPFIND"
    case 9: method == "SUBSCRIBE" || method == "PROPPATCH"
    case 10: method == "MKACTIVITY" || method == "MKCALENDAR"
    case 11: method == "UNSUBSCRIBE"
    default: false
    }
  }
}
