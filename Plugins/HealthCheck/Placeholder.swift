enum HealthCheckPlaceholder {}
