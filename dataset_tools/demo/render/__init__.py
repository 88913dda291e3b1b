"""The demo's videos: choreography, dancers, rooms, lens, compilations."""
