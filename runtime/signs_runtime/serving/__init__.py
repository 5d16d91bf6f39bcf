"""A classifier behind HTTP: its addresses, the Open Inference Protocol, and limits that hold against any client."""
