enum FaultInjectionPlaceholder {}
