"""The command `listen`: who hears what, the files they hear, the votes, the pages, the results."""
