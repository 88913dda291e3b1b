"""The command `listen`: a listening study, from its design and media files to the web pages, votes and results."""
