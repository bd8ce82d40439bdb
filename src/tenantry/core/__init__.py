"""The ground floor: ids, secrets, the clock, errors, principals, scopes, limits. Knows no SQL, no web, no configuration."""
