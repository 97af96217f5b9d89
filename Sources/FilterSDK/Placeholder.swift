enum FilterSDKPlaceholder {}
