"""A dance video in; its music made, heard, corrected and exported in the browser."""
