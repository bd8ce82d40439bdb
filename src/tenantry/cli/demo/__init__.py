"""The demonstration: what stands, played on real databases by real processes."""
