"""The int8 variant: calibrated, equalized, rounded, quantized, and repaired where it misses its budget."""
