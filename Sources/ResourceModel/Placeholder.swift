enum ResourceModelPlaceholder {}
