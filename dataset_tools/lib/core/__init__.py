"""What every stage stands on: time base, records, parameters, readers of foreign files, atomic files, weights."""
