"""DICOM: what studies and series are, and CT volumes of them. Storing and sending is interop's."""
