"""Notes and pedals written down from recordings, and how far they can be trusted."""
