"""What every stage stands on: time base, records, parameters, atomic files, workers. Imports no stage."""
