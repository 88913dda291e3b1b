"""Code that several stages share. Imports no stage."""
