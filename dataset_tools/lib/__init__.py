"""What no stage owns. Imports no stage."""
