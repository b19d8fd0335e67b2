"""Glue: the only package that knows the other three. Settings, wiring, jobs, command line, demo."""
