"""HTTP/1 messages, well-formed and not, and what may become of each (RFC 9110, RFC 9112)."""
