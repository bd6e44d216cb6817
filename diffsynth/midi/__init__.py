"""MIDI files, events, and what dampers and pedals make of them."""
