enum HTTPModelPlaceholder {}
