"""Counters of the edges. Labels are doors, states and codes; never anything of a patient."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

received = Counter("oncord_received_total", "Messages taken at a door", ["door", "seen"])
refused = Counter("oncord_refused_total", "Messages answered negatively", ["door", "code"])
truncated = Counter("oncord_mllp_truncated_total", "Frames cut short or over the cap", ["why"])
junk = Counter("oncord_mllp_junk_bytes_total", "Bytes outside frames")
connections = Gauge("oncord_mllp_connections", "Open MLLP connections")
ack_seconds = Histogram(
    "oncord_ack_seconds",
    "From the last byte of a message to its answer",
    ["door"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
stored_bytes = Counter("oncord_stored_bytes_total", "Bytes made durable", ["door"])
deliveries = Counter("oncord_deliveries_total", "Results sent to carriers", ["carrier", "state"])
quarantined = Counter("oncord_quarantined_total", "Messages set aside for a person", ["door"])
code_maps_broken = Gauge("oncord_code_maps_broken", "1: changed code maps cannot be used")
journal_stuck = Counter("oncord_journal_stuck_total", "Times the journal could not be moved")
journal_waiting = Gauge("oncord_journal_waiting_bytes", "Acknowledged, not in the tables yet")
