"""Where performances come from: one module per source, and the manifest that all of them write."""
