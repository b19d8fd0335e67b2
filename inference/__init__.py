"""Records to tensors to predictions. Knows no HL7, FHIR, DICOM, Celery or SQL."""
