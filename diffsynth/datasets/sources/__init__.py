"""The sources of data, one module each: the options of each and what it does with them."""
