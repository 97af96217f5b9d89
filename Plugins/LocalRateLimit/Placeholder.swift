enum LocalRateLimitPlaceholder {}
