"""The ledger: the only package that touches the tables, on SQLite and PostgreSQL alike.

`engine` opens a database; `intake` commits what doors receive, many connections in one fsync;
`jobs` hands out work under lease and fence; `entries`, `persons`, `images` and `results` keep
the record, whose it is, the studies, and what was predicted and delivered.
"""
