"""The one exception that users see."""


class UserError(Exception):
    """Wrong input: the message is one clear line, and a command ends with exit code 2."""
