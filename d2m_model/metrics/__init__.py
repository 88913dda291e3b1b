"""What is measured of generated music, each metric a pure function from sound or onset times to numbers."""
