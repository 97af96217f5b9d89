enum BufferFilterPlaceholder {}
