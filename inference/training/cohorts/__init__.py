"""Synthetic cohorts as declarations on one kit: patients, record, images, bound, contract.

A study is declared in `studies`; the kit (`study`, `persons`, `drawing`) makes patients of it, and
`bound`, `contract` and `store` need nothing that is particular to one. Nothing here reads wire
formats; `facts` gives the record.
Source: models.md 4; model-rules 8 to 10.
"""
