"""Standards to record and back. Pure: no sockets, files, clocks or databases."""
