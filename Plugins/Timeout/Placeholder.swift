enum TimeoutPlaceholder {}
