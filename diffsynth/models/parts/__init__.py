"""What the denoisers are made of: their interface, layers and the selective scan."""
