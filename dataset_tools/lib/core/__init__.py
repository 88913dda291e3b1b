"""The base of every stage: time base, records, parameters, readers of untrusted files, atomic writes, weights."""
