"""What a user's input can get wrong, as one sentence each.

Every room raises its own subclass; the command line prints the sentence and exits with status 2.
"""


class UserError(Exception):
    """Names the thing, what was found and what was expected, in one sentence."""
