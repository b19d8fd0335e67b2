"""Us and the peers side by side, in one run, in turns. Not collected by pytest; asserts no timing.

`python -m tests.bench [NAME...] [--write]`; tables stand in docs/reference/performance.md.
"""
