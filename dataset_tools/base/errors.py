"""The one exception a user's mistake raises: its text is the whole message they see."""


class UserError(ValueError):
    """Bad input. The message names the file, the rule, what was found and what to do, on one line."""
