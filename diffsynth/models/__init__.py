"""The networks, a folder each, behind one interface; `registry` is the table of them."""
