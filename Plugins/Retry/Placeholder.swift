enum RetryPlaceholder {}
