"""The int8 variant: calibrated, equalized, rounded, quantized, and repaired if it misses its budget."""
