enum HTTPCodecPlaceholder {}
