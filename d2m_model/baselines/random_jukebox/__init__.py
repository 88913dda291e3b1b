"""Stand-ins for Random JukeBox: codes sampled from a prior without the dance, and codes drawn uniformly."""
