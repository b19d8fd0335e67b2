"""Results into the standards clinicians' systems read: FHIR R4 resources and their transaction.

What a result is: `result`. How it reaches a system: `interop`'s carriers.
"""
