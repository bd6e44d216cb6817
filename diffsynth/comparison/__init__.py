"""Models and block sizes side by side: the table and curves of `compare`, and the speeds of `bench`."""
