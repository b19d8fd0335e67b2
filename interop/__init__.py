"""Edges: bytes, sockets, HTTP and tables. What a message means is `mappings`' business."""
