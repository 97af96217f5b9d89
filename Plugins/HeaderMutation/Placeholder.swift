enum HeaderMutationPlaceholder {}
