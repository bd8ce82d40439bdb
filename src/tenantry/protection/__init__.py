"""What keeps one caller, address or organization from being everybody's trouble: rates, and signals of what was seen."""
