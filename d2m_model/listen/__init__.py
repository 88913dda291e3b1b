"""The listening study of `d2m_model.listen`: who hears what, the files they hear, the votes, the pages, the results."""
