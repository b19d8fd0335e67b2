"""DICOM: what studies and series are; volumes and segments of CT. Storing is interop's."""
