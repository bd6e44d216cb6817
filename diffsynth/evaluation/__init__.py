"""The published evaluation: metrics and pictures of a render beside its target."""
