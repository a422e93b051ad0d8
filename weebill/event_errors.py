"""What a listener of events (events.py) raises; its place in the tree is drawn in errors.py."""

from __future__ import annotations

from .errors import PatternError, WeebillError

__all__ = [
    "ContextAlreadyExists",
    "ContextNotFound",
    "DuplicateListener",
    "EventAlreadyDone",
    "EventAlreadyExists",
    "EventDataError",
    "EventNotFound",
    "ListenerError",
    "ListenerNotFound",
    "PathParamsError",
    "RouteError",
]


class ListenerError(WeebillError):
    """Something about events, their contexts or their listener.

    >>> from weebill.events import Listener, ListenerError
    >>> try:
    ...     Listener().get_ctx("ann")
    ... except ListenerError as error:
    ...     print(error)
    no context 'ann' is alive
    """


class RouteError(ListenerError, PatternError):
    """A pattern of events that cannot be compiled.

    >>> from weebill.events import Listener
    >>> @Listener().on_event("/user/{id:number}")
    ... async def user(event):
    ...     pass
    Traceback (most recent call last):
    weebill.event_errors.RouteError: ...
    """


class ContextAlreadyExists(ListenerError):
    """A context of that name is alive already.

    >>> from weebill.events import Listener
    >>> listener = Listener()
    >>> context = listener.new_ctx("ann")
    >>> listener.new_ctx("ann")
    Traceback (most recent call last):
    weebill.event_errors.ContextAlreadyExists: a context 'ann' is alive already
    """


class ContextNotFound(ListenerError):
    """No context of that name is alive.

    >>> from weebill.events import Listener
    >>> Listener().get_ctx("ann")
    Traceback (most recent call last):
    weebill.event_errors.ContextNotFound: no context 'ann' is alive
    """


class DuplicateListener(ListenerError):
    """Another listener runs in this thread.

    >>> from weebill.events import Listener
    >>> class Outer(Listener):
    ...     async def listen(self):
    ...         Listener().run()
    >>> Outer().run()
    Traceback (most recent call last):
    weebill.event_errors.DuplicateListener: <Outer ...> runs in this thread already; start a thread ...
    """


class EventAlreadyDone(ListenerError):
    """It is too late: the event is done.

    >>> from weebill.events import Listener
    >>> class Bell(Listener):
    ...     async def listen(self):
    ...         event = self.new_event(*self.match_route("ring"))
    ...         await self.start_event(event)
    ...         event.prevent_auto_done()
    >>> bell = Bell()
    >>> @bell.on_event("ring")
    ... async def ring():
    ...     pass
    >>> bell.run()
    Traceback (most recent call last):
    weebill.event_errors.EventAlreadyDone: ...
    """


class EventAlreadyExists(ListenerError):
    """The same handler is registered for the same pattern already.

    >>> from weebill.events import Listener
    >>> async def ring():
    ...     pass
    >>> listener = Listener()
    >>> listener.add_on_event_hook(ring, "ring")
    >>> listener.add_on_event_hook(ring, "ring")
    Traceback (most recent call last):
    weebill.event_errors.EventAlreadyExists: ring (...) is registered for 'ring' already
    """


class EventNotFound(ListenerError):
    """No registered pattern matches the event, or no handler has that name.

    >>> from weebill.events import Listener
    >>> Listener().trigger_event("ring")
    Traceback (most recent call last):
    weebill.event_errors.EventNotFound: no pattern matches the event 'ring'
    """


class ListenerNotFound(ListenerError):
    """No listener runs in this thread.

    >>> from weebill.events import get_current_running_listener
    >>> get_current_running_listener()
    Traceback (most recent call last):
    weebill.event_errors.ListenerNotFound: no listener runs in this thread
    """


class PathParamsError(ListenerError):
    """A function asks for a path parameter that the event's pattern does not have.

    >>> from weebill.events import Listener, Param
    >>> class Door(Listener):
    ...     async def listen(self):
    ...         await self.trigger_event("knock")
    >>> door = Door()
    >>> @door.on_event("knock")
    ... async def knock(who: Param):
    ...     pass
    >>> door.run()
    Traceback (most recent call last):
    weebill.event_errors.PathParamsError: knock (...) asks for 'who', but 'knock' has no such part
    """


class EventDataError(ListenerError):
    """A function asks for data that the event does not carry.

    >>> from weebill.events import Data, Listener
    >>> class Door(Listener):
    ...     async def listen(self):
    ...         await self.trigger_event("knock", data={"loudly": True})
    >>> door = Door()
    >>> @door.on_event("knock")
    ... async def knock(who: Data):
    ...     pass
    >>> door.run()
    Traceback (most recent call last):
    weebill.event_errors.EventDataError: knock (...) asks for 'who', but <Event 'knock' {}> has no such data
    """
