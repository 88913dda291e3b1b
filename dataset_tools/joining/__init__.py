"""The streams of a clip, from the stages that made them to one record. Imports no stage."""
