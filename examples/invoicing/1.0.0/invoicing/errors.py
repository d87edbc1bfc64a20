"""What can be wrong with a request, and the HTTP status that says so."""


class ShopError(Exception):
    """A request that cannot be done; the message is for the person who made it."""

    status = 400


class NotFoundError(ShopError):
    status = 404


class ConflictError(ShopError):
    """Right in itself, but not as things are: not enough in stock, or a name that is taken."""

    status = 409


class UnavailableError(ShopError):
    """The database does not answer; nothing was changed unless it was lost in the very moment of saving."""

    status = 503
