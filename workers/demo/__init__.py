"""A pretend hospital on loopback: an EHR, a HIS, a RIS and a PACS, for the demo and the tests.

Nothing here runs in production. Patients are synthetic; wire formats are real.
"""
