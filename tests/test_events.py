"""The event engine: weebill/events.py, contexts.py and injection.py."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import threading
import weakref
from typing import Annotated, Any
from uuid import UUID

import pytest

from weebill.errors import ConfigurationError, PatternError, SignatureError, WeebillError
from weebill.event_errors import (
    ContextAlreadyExists,
    ContextNotFound,
    DuplicateListener,
    EventAlreadyDone,
    EventAlreadyExists,
    EventDataError,
    EventNotFound,
    ListenerError,
    ListenerNotFound,
    PathParamsError,
    RouteError,
)
from weebill.events import (
    Context,
    Data,
    Depends,
    Event,
    Listener,
    Param,
    depend,
    get_current_running_listener,
)


class MyContext(Context):
    """A context of a program's own."""

    colour = "green"


class MyEvent(Event):
    """Only ever an annotation: events are made by the engine."""


async def nothing() -> None:
    """A handler that does nothing."""


async def get_name(name: Param) -> str:
    return f"<{name}>"


async def settle(listener: Listener) -> None:
    """Wait until every event that was triggered is over."""
    while tasks := list(listener._tasks):
        await asyncio.wait(tasks)


async def a_while() -> None:
    """Some dozens of turns of the loop."""
    for _ in range(50):
        tick = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(tick.set_result, None)
        await tick


# -- patterns


@pytest.mark.parametrize(
    ("pattern", "path", "params"),
    [
        ("GET:/user/{username}", "GET:/user/ann", {"username": "ann"}),
        ("I like {things}.", "I like winter.", {"things": "winter"}),
        ("{who:str} is {age:int}", "ann is 42", {"who": "ann", "age": 42}),
        ("{t:float} degrees", "-3.5 degrees", {"t": -3.5}),
        ("/files/{rest:path}", "/files/a/b/c.txt", {"rest": "a/b/c.txt"}),
        (
            "id={id:uuid}",
            "id=18baadd0-9225-4cc0-a13b-69098168689f",
            {"id": UUID("18baadd0-9225-4cc0-a13b-69098168689f")},
        ),
        ("{a}.{b:int}", "x.7", {"a": "x", "b": 7}),
    ],
)
def test_parameters_of_every_converter_stand_anywhere_in_a_text(
    pattern: str, path: str, params: dict[str, Any]
) -> None:
    app = Listener()
    app.on_event(pattern)(nothing)
    assert app.match_route(path)[1] == params


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/user/{name}", "/user/"),
        ("/user/{name}", "/user/a/b"),
        ("{n:int}", "12x"),
        ("{n:uuid}", "18baadd0"),
        ("I like {things}.", "I like winter!"),
        ("ping", "ping "),
    ],
)
def test_a_text_must_match_as_a_whole(pattern: str, path: str) -> None:
    app = Listener()
    app.on_event(pattern)(nothing)
    with pytest.raises(EventNotFound, match="no pattern matches"):
        app.match_route(path)


def test_the_default_pattern_matches_anything() -> None:
    app = Listener()
    app.on_event()(nothing)
    assert app.match_route("GET:/any/thing at all\n")[1] == {"_": "GET:/any/thing at all\n"}
    assert app.routes["nothing"].path == "{_:path}"


@pytest.mark.parametrize("pattern", ["/user/{age:int128}", "/user/{name", "/{2x}", "/{a}/{a}"])
def test_a_pattern_that_means_nothing_is_a_route_error_that_names_the_handler(pattern: str) -> None:
    with pytest.raises(RouteError, match=r"nothing \(.*test_events\.py:\d+\): .*pattern"):
        Listener().on_event(pattern)(nothing)


def test_the_pattern_registered_first_wins_static_or_not() -> None:
    app = Listener()

    @app.on_event("/first")
    async def static() -> None: ...

    @app.on_event("/{word}")
    async def dynamic() -> None: ...

    @app.on_event("/second")
    async def hidden() -> None: ...

    @app.on_event("/first")
    async def also_hidden() -> None: ...

    assert app.match_route("/first")[0].fn is static
    assert app.match_route("/second") == (app.routes["dynamic"], {"word": "second"})
    app.remove_on_event_hook(dynamic)
    assert app.match_route("/second")[0].fn is hidden


# -- registration


def test_decorators_return_the_function_they_were_given() -> None:
    app = Listener()
    decorators = [
        app.on_event("/x"),
        app.startup,
        app.shutdown,
        app.before_event,
        app.after_event,
        app.on_error(ValueError),
    ]
    assert all(decorate(nothing) is nothing for decorate in decorators)


def test_routes_belong_to_the_instance() -> None:
    one, two = Listener(), Listener()
    one.on_event("/x")(nothing)
    assert (len(one.routes), len(two.routes)) == (1, 0)


def test_a_route_keeps_its_options() -> None:
    app = Listener()
    app.add_on_event_hook(nothing, "/x", cfg={"a": 1}, name="n")
    assert app.get_route("nothing").opts == {"cfg": {"a": 1}, "name": "n"}


def test_two_handlers_may_bear_the_same_function_name() -> None:
    app, seen = Listener(), []

    @app.on_event("/a")
    async def _() -> None:
        seen.append("a")

    @app.on_event("/b")
    async def _() -> None:
        seen.append("b")

    async def main() -> None:
        await app.trigger_event("/b")
        await app.trigger_event("/a")

    asyncio.run(main())
    assert seen == ["b", "a"]
    assert list(app.routes) == ["_", "__2"]
    assert app.remove_on_event_hook("_") is True
    assert not app.routes


def test_the_same_function_with_the_same_pattern_is_refused() -> None:
    app = Listener()
    app.on_event("/a")(nothing)
    app.on_event("/b")(nothing)
    with pytest.raises(EventAlreadyExists, match="nothing"):
        app.on_event("/a")(nothing)


def test_a_route_is_removed_by_name_or_by_function() -> None:
    app = Listener()
    app.on_event("/foo")(nothing)
    app.on_event("/bar")(get_name)
    assert app.remove_on_event_hook("nothing") is True
    assert app.remove_on_event_hook("nothing") is False
    with pytest.raises(EventNotFound):
        app.match_route("/foo")
    assert app.remove_on_event_hook(get_name) is True
    with pytest.raises(EventNotFound, match="there are none"):
        app.get_route("get_name")


def plain() -> None: ...


async def yielding() -> Any:
    yield 1


@pytest.mark.parametrize("wrong", [plain, yielding, 42, lambda: nothing()])
@pytest.mark.parametrize(
    "register",
    [
        Listener.add_on_event_hook,
        Listener.add_before_event_hook,
        Listener.add_after_event_hook,
        Listener.add_startup_callback,
        Listener.add_shutdown_callback,
        lambda app, fn: app.add_on_error_hook(fn, ValueError),
        lambda app, fn: app.on_event("/{_}")(fn),
    ],
)
def test_only_async_def_is_accepted(register: Any, wrong: Any) -> None:
    with pytest.raises(TypeError) as caught:
        register(Listener(), wrong)
    assert isinstance(caught.value, SignatureError)


def test_a_dependency_must_be_async_def_too() -> None:
    async def handler(value: Any = Depends(plain)) -> None: ...

    with pytest.raises(TypeError, match=r"plain .* is not an async def.*dependency of .*handler"):
        Listener().on_event("/x")(handler)


def test_a_decorator_without_its_parentheses_says_so() -> None:
    with pytest.raises(RouteError, match=r"write @app\.on_event\(\.\.\.\)"):
        Listener().on_event(nothing)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"write @app\.on_error\(ValueError\)"):
        Listener().on_error(nothing)  # type: ignore[arg-type]


def test_an_object_with_an_async_call_is_a_handler() -> None:
    class Greeter:
        async def __call__(self, name: Param) -> str:
            return f"hello {name}"

    async def main() -> Any:
        return await app.trigger_event("/ann")

    app = Listener()
    app.on_event("/{name}")(Greeter())
    assert asyncio.run(main()) == "hello ann"
    assert list(app.routes) == ["Greeter"]


def test_a_parameter_that_nothing_fills_is_a_signature_error() -> None:
    async def handler(age: int) -> None: ...

    async def callback(event: Event) -> None: ...

    with pytest.raises(SignatureError, match=r"'age' of .*handler .* for? .*|'age'.*handler"):
        Listener().on_event("/x")(handler)
    with pytest.raises(SignatureError, match=r"'event' of .*callback.* as a startup callback"):
        Listener().startup(callback)


# -- contexts


def test_a_context_is_made_found_and_dropped() -> None:
    app = Listener()
    ctx = app.new_ctx("mine", scope={"foo": 1})
    assert (ctx.cid, ctx.scope, ctx.cache, ctx.events, ctx.listener) == ("mine", {"foo": 1}, {}, {}, app)
    assert app.get_ctx("mine") is ctx
    assert app.ctxs == {"mine": ctx}
    with pytest.raises(ContextAlreadyExists, match="mine"):
        app.new_ctx("mine")
    assert (ctx.is_alive, ctx.drop(), ctx.is_alive, ctx.drop()) == (True, True, False, False)
    with pytest.raises(ContextNotFound, match="mine"):
        app.get_ctx("mine")


def test_a_dropped_context_does_not_drop_its_successor() -> None:
    app = Listener()
    old = app.new_ctx("mine")
    old.drop()
    new = app.new_ctx("mine")
    assert old.is_alive is False
    assert old.drop() is False
    assert app.get_ctx("mine") is new


def test_contexts_without_a_name_get_names_of_their_own() -> None:
    app = Listener()
    assert len({app.new_ctx().cid for _ in range(100)}) == len(app.ctxs) == 100


def test_a_context_class_is_set_or_named_by_the_type() -> None:
    class App(Listener[MyContext]):
        pass

    class Sub(App):
        pass

    app = Listener()
    app.set_context_cls(MyContext)
    assert app.new_ctx().colour == App().new_ctx().colour == Sub().new_ctx().colour == "green"
    assert type(Listener().new_ctx()) is Context
    with pytest.raises(TypeError, match="no subclass of Context"):
        app.set_context_cls(dict)  # type: ignore[arg-type]


def test_a_context_may_be_falsy() -> None:
    class Empty(Context):
        def __len__(self) -> int:
            return 0

    async def main() -> None:
        app = Listener()
        app.on_event("/x")(nothing)
        app.set_context_cls(Empty)
        ctx = app.new_ctx("mine")
        await app.trigger_event("/x", cid="mine")
        assert list(app.ctxs.values()) == [ctx]

    asyncio.run(main())


def test_events_of_one_name_share_their_context_until_it_is_dropped() -> None:
    app, seen = Listener(), []

    @app.on_event("/step/{n:int}")
    async def step(ctx: Context, n: Param) -> None:
        ctx.scope[n] = True
        seen.append((ctx, dict(ctx.scope)))

    async def main() -> None:
        await app.trigger_event("/step/1", cid="ann")
        await app.trigger_event("/step/2", cid="ann")
        await app.trigger_event("/step/1", cid="bob")

    asyncio.run(main())
    ann, bob = app.get_ctx("ann"), app.get_ctx("bob")
    assert seen == [(ann, {1: True}), (ann, {1: True, 2: True}), (bob, {1: True})]
    assert [len(ctx.events[app.routes["step"]]) for ctx in (ann, bob)] == [2, 1]


def test_a_context_made_for_one_event_goes_when_the_event_is_done() -> None:
    app, seen = Listener(), []

    @app.on_event("/x")
    async def handler(ctx: Context) -> None:
        seen.append((ctx.is_alive, app.get_ctx(ctx.cid) is ctx))

    async def main() -> None:
        await app.trigger_event("/x")
        assert not app.ctxs

    asyncio.run(main())
    assert seen == [(True, True)]


def test_nothing_of_an_event_is_left_in_memory_without_the_garbage_collector() -> None:
    app, left = Listener(), []

    @app.on_event("/x")
    async def handler(event: Event, name: Any = Depends(nothing)) -> None:
        left.extend([weakref.ref(event), weakref.ref(event.ctx)])

    async def main() -> None:
        await app.trigger_event("/x")

    gc.disable()
    try:
        asyncio.run(main())
        assert [ref() for ref in left] == [None, None]
    finally:
        gc.enable()


def test_a_context_of_its_own_stays_for_what_is_triggered_in_it() -> None:
    app = Listener()
    go = asyncio.Event()

    @app.on_event("/parent")
    async def parent(ctx: Context) -> Context:
        ctx.trigger_event("/child")
        return ctx

    @app.on_event("/child")
    async def child() -> None:
        await go.wait()

    async def main() -> None:
        ctx = await app.trigger_event("/parent")
        assert ctx.is_alive
        go.set()
        await settle(app)
        assert not ctx.is_alive

    asyncio.run(main())


def test_a_thousand_events_leave_no_context_and_no_task() -> None:
    app = Listener()
    app.on_event("/{n:int}")(nothing)

    async def main() -> None:
        for n in range(1000):
            app.trigger_event(f"/{n}")
        await settle(app)

    asyncio.run(main())
    assert not app.ctxs
    assert not app._tasks


# -- triggering


def test_an_unknown_event_is_told_at_once_and_makes_nothing() -> None:
    app = Listener()
    with pytest.raises(EventNotFound, match="'/nowhere'"):
        app.trigger_event("/nowhere")  # not even a loop is needed
    with pytest.raises(EventNotFound):
        app.new_ctx("mine").trigger_event("/nowhere")
    assert list(app.ctxs) == ["mine"]


def test_an_event_carries_data_parameters_and_result() -> None:
    app = Listener()
    data = {"age": 35}

    @app.on_event("/{name}", key="value")
    async def handler(event: Event) -> Event:
        return event

    async def main() -> None:
        ctx = app.new_ctx()
        task = ctx.trigger_event("/ann", data=data)
        assert isinstance(task, asyncio.Task)
        event = await task
        assert event.data is data
        assert event.params == {"name": "ann"}
        assert event.route is app.routes["handler"]
        assert event.route.opts == {"key": "value"}
        assert event.ctx is ctx
        assert event.listener is app
        assert event.error is None
        assert event.result is event
        assert event.is_done
        assert ctx.events == {event.route: [event]}
        assert (await ctx.trigger_event("/bob")).data == {}

    asyncio.run(main())


def test_tasks_are_held_by_a_strong_reference() -> None:
    app = Listener()
    done = []

    @app.on_event("/x")
    async def handler() -> None:
        # Nothing but this frame holds the future: without the listener, task and future were a lone cycle.
        future = asyncio.get_running_loop().create_future()
        woken = weakref.ref(future)
        asyncio.get_running_loop().call_soon(lambda: gc.collect())
        asyncio.get_running_loop().call_soon(lambda: (f := woken()) and f.set_result(None))
        await future
        done.append(True)

    async def main() -> None:
        reference = weakref.ref(app.trigger_event("/x"))
        await a_while()
        gc.collect()
        assert reference() is None

    asyncio.run(main())
    assert done == [True]


# -- the order of things


def test_hooks_run_before_and_after_the_handler_in_order_of_registration() -> None:
    app, seen = Listener(), []

    @app.before_event
    async def one() -> None:
        seen.append(1)

    @app.before_event
    async def two() -> None:
        seen.append(2)

    @app.after_event
    async def four(event: Event) -> None:
        seen.append((4, event.result, event.is_done))

    @app.after_event
    async def five() -> None:
        seen.append(5)

    @app.on_event()
    async def three() -> str:
        seen.append(3)
        return "three"

    async def main() -> Any:
        return await app.trigger_event("/go")

    assert asyncio.run(main()) == "three"
    assert seen == [1, 2, 3, (4, "three", False), 5]


@pytest.mark.parametrize("place", ["before", "handler", "after"])
def test_every_matching_error_hook_runs_in_order_and_no_after_hook(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    app, seen = Listener(), []

    def fail(here: str) -> None:
        seen.append(here)
        if here == place:
            raise KeyError(here)

    @app.before_event
    async def before() -> None:
        fail("before")

    @app.on_event()
    async def handler() -> None:
        fail("handler")

    @app.after_event
    async def after() -> None:
        fail("after")

    @app.on_error(LookupError)
    async def first(event: Event) -> None:
        assert not event.is_done
        seen.append(("first", str(event.error)))

    @app.on_error(ValueError)
    async def other() -> None:
        seen.append("other")

    @app.on_error(KeyError)
    async def second() -> None:
        seen.append("second")

    async def main() -> Any:
        return await app.trigger_event("/go")

    assert asyncio.run(main()) is None
    order = ["before", "handler", "after"]
    assert seen == [*order[: order.index(place) + 1], ("first", f"'{place}'"), "second"]
    assert not caplog.records


def test_without_a_matching_error_hook_the_task_fails_and_one_line_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, events = Listener(), []
    app.on_error(KeyError)(nothing)

    @app.on_event("/{what}")
    async def broken(event: Event) -> None:
        events.append(event)
        raise ValueError("kaputt")

    async def main() -> None:
        await asyncio.wait([app.trigger_event("/thing")])  # nobody looks at its exception
        gc.collect()
        with pytest.raises(ValueError, match="kaputt"):
            await app.trigger_event("/again")

    asyncio.run(main())
    assert len(caplog.records) == 2
    line = caplog.records[0].getMessage()
    assert line.startswith("<Event '/{what}' {'what': 'thing'}> failed in test_")
    assert "broken (" in line
    assert line.endswith(": ValueError: kaputt")
    assert all(event.is_done and isinstance(event.error, ValueError) for event in events)
    assert not app.ctxs


def test_an_error_hook_that_fails_fails_the_task(caplog: pytest.LogCaptureFixture) -> None:
    app = Listener()

    @app.on_event("/x")
    async def broken() -> None:
        raise ValueError

    @app.on_error(ValueError)
    async def worse() -> None:
        raise RuntimeError("worse")

    async def main() -> None:
        with pytest.raises(RuntimeError, match="worse"):
            await app.trigger_event("/x")

    asyncio.run(main())
    assert len(caplog.records) == 1


def test_a_hook_may_set_another_result() -> None:
    app = Listener()

    @app.on_event("/x")
    async def broken() -> None:
        raise ValueError

    @app.on_error(ValueError)
    async def mend(event: Event) -> None:
        event.result = "mended"

    async def main() -> Any:
        return await app.trigger_event("/x")

    assert asyncio.run(main()) == "mended"


def test_the_handler_has_its_timeout() -> None:
    app, seen = Listener(), []

    @app.on_event("/slow")
    async def slow() -> None:
        await asyncio.Event().wait()

    @app.on_event("/fast")
    async def fast() -> str:
        return "fast"

    @app.on_error(TimeoutError)
    async def too_slow(event: Event) -> None:
        seen.append((event.route.name, event.timeout))

    async def main() -> None:
        assert await app.trigger_event("/slow", timeout=0.01) is None
        assert await app.new_ctx().trigger_event("/slow", timeout=0.02) is None
        assert await app.trigger_event("/fast", timeout=10) == "fast"

    asyncio.run(main())
    assert seen == [("slow", 0.01), ("slow", 0.02)]


def test_a_cancelled_event_is_done_and_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    app, events = Listener(), []

    @app.on_event("/x")
    async def endless(event: Event) -> None:
        events.append(event)
        task.cancel()
        await asyncio.Event().wait()

    async def main() -> None:
        nonlocal task
        task = app.trigger_event("/x")
        await asyncio.wait([task])
        assert task.cancelled()

    task: asyncio.Task[Any]
    asyncio.run(main())
    assert events[0].is_done
    assert not app.ctxs
    assert not caplog.records


# -- done


def test_an_event_is_done_by_itself_or_when_the_program_says_so() -> None:
    app, seen = Listener(), []

    @app.on_event("/x")
    async def handler(event: Event) -> Event:
        assert event.auto_done is True
        event.prevent_auto_done()
        assert event.auto_done is False
        return event

    @app.on_event("/early")
    async def early(event: Event) -> Event:
        event.done()
        return event

    async def wait(event: Event) -> None:
        await event.wait_until_done()
        seen.append(event.is_done)

    async def main() -> None:
        event = await app.trigger_event("/x")
        waiting = asyncio.ensure_future(wait(event))
        assert event.is_done is False
        assert event.ctx.is_alive
        event.done()
        event.done()  # once more does no harm
        await waiting
        assert seen == [True]
        assert not event.ctx.is_alive
        with pytest.raises(EventAlreadyDone, match="done already"):
            event.prevent_auto_done()
        with pytest.raises(EventAlreadyDone):
            await event()
        assert (await app.trigger_event("/early")).is_done

    asyncio.run(main())


def test_an_event_of_ones_own_runs_when_it_is_called_or_started() -> None:
    app = Listener()
    app.on_event("/{name}")(get_name)

    async def main() -> None:
        route, params = app.match_route("/ann")
        event = app.new_ctx().new_event(route, {"x": 1}, params)
        assert await event() == event.result == "<ann>"
        assert event.is_done is False
        other = app.new_event(route, {"name": "bob"}, cid="mine")
        assert await app.start_event(other) == "<bob>"
        assert other.ctx is app.get_ctx("mine")

    asyncio.run(main())


def test_wait_event_done_gives_the_results_of_that_name_in_this_context() -> None:
    app = Listener()

    @app.on_event("step 1: save {username}'s data")
    async def step_1(event: Event, username: Param) -> str:
        return f"{username}, {event.data['age']}"

    @app.on_event("step 2: mail to {email}")
    async def step_2(event: Event, email: Param) -> tuple[str, list[Any]]:
        return email, await event.wait_event_done("step_1", timeout=10)

    async def main() -> Any:
        ctx = app.new_ctx()
        app.trigger_event("step 1: save Bob's data", data={"age": 1})  # another context
        mail = ctx.trigger_event("step 2: mail to ann@example.org")
        ctx.trigger_event("step 1: save Ann's data", data={"age": 35})
        return await mail

    assert asyncio.run(main()) == ("ann@example.org", ["Ann, 35"])


def test_wait_event_done_counts_at_least_n_and_wakes_at_once() -> None:
    app = Listener()
    finish = asyncio.Event()

    @app.on_event("/part/{n:int}")
    async def part(n: Param) -> int:
        await finish.wait()
        return int(n)

    @app.on_event("/sum")
    async def total(event: Event) -> int:
        return sum(await event.wait_event_done("part", n=2))

    async def main() -> None:
        ctx = app.new_ctx()
        both = ctx.trigger_event("/sum")
        for n in (1, 2, 3):  # more than n: the answer must come all the same
            ctx.trigger_event(f"/part/{n}")
        steps = 0
        finish.set()
        while not both.done():
            tick = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(tick.set_result, None)
            await tick
            steps += 1
        assert both.result() == 6
        assert steps < 10  # turns of the loop, not a poll every half second
        assert await ctx.trigger_event("/sum") == 6  # those that are done already count

    asyncio.run(main())


def test_wait_event_done_gives_up_after_its_timeout_and_knows_the_names() -> None:
    app = Listener()
    app.on_event("/never")(nothing)

    @app.on_event("/x/{name}")
    async def waits(event: Event, name: Param) -> None:
        await event.wait_event_done(name, timeout=0.01)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await app.trigger_event("/x/nothing")
        with pytest.raises(EventNotFound, match="'nobody'"):
            await app.trigger_event("/x/nobody")

    asyncio.run(main())


def test_wait_event_done_counts_every_handler_of_that_name() -> None:
    app = Listener()

    @app.on_event("/a")
    async def _() -> str:
        return "a"

    @app.on_event("/b")
    async def _() -> str:
        return "b"

    @app.on_event("/both")
    async def both(event: Event) -> list[Any]:
        return await event.wait_event_done("_", 2, timeout=10)

    async def main() -> Any:
        ctx = app.new_ctx()
        task = ctx.trigger_event("/both")
        ctx.trigger_event("/b")
        ctx.trigger_event("/a")
        return await task

    assert sorted(asyncio.run(main())) == ["a", "b"]


# -- injection


def run_one(handler: Any, path: str = "/ann", data: dict[str, Any] | None = None) -> Any:
    app = Listener()
    app.on_event("/{name}")(handler)

    async def main() -> Any:
        return await app.trigger_event(path, data=data)

    return asyncio.run(main())


def test_events_and_contexts_are_injected_by_class() -> None:
    async def handler(a: Event, b: MyEvent, c: Event[MyContext], d: Context, *, e: MyContext) -> None:
        assert isinstance(a, Event)
        assert a is b is c
        assert a.ctx is d is e

    run_one(handler)


def test_string_annotations_work() -> None:
    async def handler(event: Event[Any], ctx: Context, name: Param, age: Data) -> list[Any]:
        return [event.ctx is ctx, name, age]

    assert set(handler.__annotations__.values()) == {"Event[Any]", "Context", "Param", "Data", "list[Any]"}
    assert run_one(handler, data={"age": 18}) == [True, "ann", 18]


def test_param_and_data_are_injected_by_the_name_of_the_parameter() -> None:
    async def handler(name: Param, age: Data, *, more: Data) -> list[Any]:
        return [name, age, more]

    assert run_one(handler, data={"age": 18, "more": None}) == ["ann", 18, None]


def test_param_and_data_that_are_not_there_are_errors_that_name_the_function() -> None:
    async def no_part(size: Param) -> None: ...

    async def no_data(age: Data) -> None: ...

    with pytest.raises(PathParamsError, match=r"no_part .* asks for 'size'.*/\{name\}"):
        run_one(no_part)
    with pytest.raises(EventDataError, match=r"no_data .* asks for 'age'"):
        run_one(no_data)


def test_ordinary_defaults_are_honoured_and_bare_parameters_get_none() -> None:
    async def handler(a, b=2, c: int = 3, d: Data = 4, e: Param = 5, *rest, f, g="g", **more):  # type: ignore[no-untyped-def]
        return [a, b, c, d, e, rest, f, g, more]

    assert run_one(handler) == [None, 2, 3, 4, 5, (), None, "g", {}]
    assert run_one(handler, data={"d": "data", "b": "not asked for"})[:4] == [None, 2, 3, "data"]


def test_a_partial_and_a_method_may_be_handlers() -> None:
    class Service:
        async def greet(self, name: Param, event: Event) -> str:
            return f"hello {name} {event.params}"

    assert run_one(Service().greet) == "hello ann {'name': 'ann'}"


@pytest.mark.parametrize("make", [Depends, depend])
def test_dependencies_are_filled_like_handlers_and_nest(make: Any) -> None:
    async def get_user(event: Event, name: Param, age: Data, ctx: Context, bare, plain=7):  # type: ignore[no-untyped-def]
        assert event.ctx is ctx
        return {"name": name, "age": age, "bare": bare, "plain": plain}

    async def get_label(user: dict[str, Any] = make(get_user)) -> str:  # noqa: B008
        return f"{user['name']}-{user['age']}-{user['bare']}-{user['plain']}"

    async def handler(event: Event, label: str = make(get_label), *, user: Any = make(get_user)) -> Any:  # noqa: B008
        return label, user["name"]

    assert run_one(handler, data={"age": 18}) == ("ann-18-None-7", "ann")


def test_a_dependency_may_stand_in_the_annotation() -> None:
    async def handler(who: Annotated[str, Depends(get_name)]) -> str:
        return who

    assert run_one(handler) == "<ann>"


def counter() -> tuple[list[int], Any]:
    calls: list[int] = []

    async def count() -> int:
        calls.append(len(calls) + 1)
        return calls[-1]

    return calls, count


def test_a_dependency_is_cached_per_context() -> None:
    calls, count = counter()
    app = Listener()

    @app.on_event("/x")
    async def handler(a: int = Depends(count), b: int = Depends(count), c: int = depend(count)) -> Any:
        return a, b, c

    async def main() -> None:
        ctx = app.new_ctx()
        assert await ctx.trigger_event("/x") == (1, 1, 1)
        assert await ctx.trigger_event("/x") == (1, 1, 1)
        assert ctx.cache == {Depends(count): 1}
        assert await app.trigger_event("/x") == (2, 2, 2)

    asyncio.run(main())
    assert calls == [1, 2]


def test_a_dependency_without_cache_runs_each_time() -> None:
    _, count = counter()

    async def handler(a: int = Depends(count, use_cache=False), b: int = Depends(count, False)) -> Any:
        return a, b

    assert run_one(handler) == (1, 2)


def test_hooks_take_dependencies_and_share_the_cache_with_the_handler() -> None:
    calls, count = counter()
    app, seen = Listener(), []

    @app.before_event
    async def before(ctx: Context, n: int = Depends(count), name: Param = "nobody") -> None:
        seen.append((n, name))

    @app.after_event
    async def after(event: Event, age: Data, n: int = Depends(count)) -> None:
        seen.append((n, age))
        raise ValueError

    @app.on_error(ValueError)
    async def failed(who: str = Depends(get_name), n: int = Depends(count)) -> None:
        seen.append((n, who))

    @app.on_event("/{name}")
    async def handler(n: int = Depends(count)) -> None: ...

    async def main() -> None:
        await app.trigger_event("/ann", data={"age": 5})

    asyncio.run(main())
    assert seen == [(1, "ann"), (1, 5), (1, "<ann>")]
    assert calls == [1]


def test_a_dependency_of_two_concurrent_events_of_one_context_runs_once() -> None:
    app, started, calls = Listener(), asyncio.Event(), []
    proceed = asyncio.Event()

    async def connect() -> object:
        calls.append(1)
        started.set()
        await proceed.wait()
        return object()

    @app.on_event("/x")
    async def handler(connection: object = Depends(connect)) -> object:
        return connection

    async def main() -> None:
        ctx = app.new_ctx()
        tasks = [ctx.trigger_event("/x") for _ in range(3)]
        other = app.trigger_event("/x")
        await started.wait()
        proceed.set()
        connections = await asyncio.gather(*tasks)
        assert connections[0] is connections[1] is connections[2] is not await other

    asyncio.run(main())
    assert len(calls) == 2  # one for each context


def test_a_dependency_that_fails_fails_all_who_wait_for_it_and_is_not_cached() -> None:
    app, calls = Listener(), []
    started, proceed = asyncio.Event(), asyncio.Event()

    async def flaky() -> str:
        calls.append(1)
        started.set()
        await proceed.wait()
        if len(calls) == 1:
            raise OSError("first time")
        return "second time"

    @app.on_event("/x")
    async def handler(value: str = Depends(flaky)) -> str:
        return value

    @app.on_error(OSError)
    async def failed(event: Event) -> None:
        event.result = str(event.error)

    async def main() -> None:
        ctx = app.new_ctx()
        tasks = [ctx.trigger_event("/x") for _ in range(2)]
        await started.wait()
        proceed.set()
        assert await asyncio.gather(*tasks) == ["first time", "first time"]
        assert await ctx.trigger_event("/x") == "second time"

    asyncio.run(main())
    assert len(calls) == 2


def test_when_the_event_that_makes_a_dependency_is_cancelled_the_next_one_makes_it() -> None:
    app, calls, started = Listener(), [], asyncio.Event()

    async def slow() -> int:
        calls.append(1)
        if len(calls) == 1:
            started.set()
            await asyncio.Event().wait()
        return len(calls)

    @app.on_event("/x")
    async def handler(value: int = Depends(slow)) -> int:
        return value

    async def main() -> None:
        ctx = app.new_ctx()
        first, second = ctx.trigger_event("/x"), ctx.trigger_event("/x")
        await started.wait()
        first.cancel()
        assert await second == 2
        assert first.cancelled()

    asyncio.run(main())


def test_a_dependency_has_its_timeout() -> None:
    async def slow() -> None:
        await asyncio.Event().wait()

    async def handler(value: None = Depends(slow, timeout=0.01)) -> None: ...

    with pytest.raises(TimeoutError):
        run_one(handler)


def test_a_dependency_on_itself_is_refused() -> None:
    async def snake(tail: Any = None) -> None: ...

    snake.__defaults__ = (Depends(snake),)
    with pytest.raises(SignatureError, match=r"snake .* depends on itself"):
        Listener().on_event("/x")(snake)


def test_the_plan_is_worked_out_once_at_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Listener()

    @app.on_event("/{name}")
    async def handler(event: Event, name: Param, who: str = Depends(get_name)) -> str:
        return who

    async def main() -> Any:
        return await app.trigger_event("/ann")

    def too_late(*_: Any) -> Any:
        raise AssertionError("a signature is read while an event runs")

    monkeypatch.setattr("weebill.injection.bind", too_late)
    monkeypatch.setattr("inspect.signature", too_late)
    monkeypatch.setattr("weebill.binding.get_type_hints", too_late)
    assert asyncio.run(main()) == "<ann>"


# -- the life of a listener


class Quiet(Listener):
    """Listens to nothing and returns at once."""

    async def listen(self) -> None:
        """Set nothing up."""


def stop_by_signal(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_starts_listens_and_ends_on_a_signal(number: int) -> None:
    app, seen = Quiet(), []

    @app.startup
    async def one() -> None:
        seen.append("startup 1")

    @app.startup
    async def two() -> None:
        seen.append("startup 2")
        stop_by_signal(number)

    @app.shutdown
    async def three() -> None:
        seen.append("shutdown 1")

    @app.shutdown
    async def four() -> None:
        seen.append("shutdown 2")

    app.run()
    assert seen == ["startup 1", "startup 2", "shutdown 1", "shutdown 2"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_listener_can_run_again() -> None:
    app, runs = Quiet(), []

    @app.startup
    async def go() -> None:
        runs.append(asyncio.get_running_loop())
        await app.graceful_shutdown()

    app.run()
    app.run()
    assert len(runs) == 2
    assert runs[0] is not runs[1]


def test_listen_may_run_until_it_is_cancelled_and_clean_up() -> None:
    seen = []

    class App(Listener):
        async def listen(self) -> None:
            try:
                self.trigger_event("/stop")
                await asyncio.Event().wait()
            finally:
                seen.append("cleaned up")

    app = App()

    @app.on_event("/stop")
    async def stop() -> None:
        await app.graceful_shutdown(signal.SIGINT)
        seen.append("stopped")

    app.run()
    assert seen == ["stopped", "cleaned up"]


def test_shutdown_callbacks_run_to_their_end_one_after_another(caplog: pytest.LogCaptureFixture) -> None:
    app, seen = Quiet(), []

    @app.startup
    async def go() -> None:
        stop_by_signal()

    @app.shutdown
    async def close_slowly() -> None:
        for turn in range(5):
            await asyncio.to_thread(seen.append, turn)

    @app.shutdown
    async def broken() -> None:
        raise OSError("no pipe")

    @app.shutdown
    async def last() -> None:
        seen.append("last")

    app.run()
    assert seen == [0, 1, 2, 3, 4, "last"]
    assert [r.getMessage().rpartition(" failed")[2] for r in caplog.records] == [": no pipe"]


def test_events_in_flight_are_finished_before_the_shutdown_callbacks() -> None:
    app, seen = Quiet(), []

    @app.startup
    async def go() -> None:
        app.trigger_event("/work")
        stop_by_signal()

    @app.on_event("/work")
    async def work(ctx: Context) -> None:
        await app.wait_for_shutdown()
        ctx.trigger_event("/more")  # what it triggers now is finished too
        seen.append("work")

    @app.on_event("/more")
    async def more() -> None:
        await a_while()
        seen.append("more")

    @app.shutdown
    async def bye() -> None:
        seen.append("bye")

    app.run()
    assert seen == ["work", "more", "bye"]


def test_events_that_do_not_end_are_cancelled_after_the_graceful_timeout() -> None:
    app, seen = Quiet(graceful_timeout=0.05), []

    @app.startup
    async def go() -> None:
        app.trigger_event("/endless")
        stop_by_signal()

    @app.on_event("/endless")
    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    @app.shutdown
    async def bye() -> None:
        seen.append("bye")

    app.run()
    assert seen == ["cancelled", "bye"]


def test_the_second_signal_ends_events_at_once_and_a_further_one_a_callback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, seen = Quiet(graceful_timeout="1h"), []

    @app.startup
    async def go() -> None:
        app.trigger_event("/endless")
        stop_by_signal()

    @app.on_event("/endless")
    async def endless() -> None:
        await app.wait_for_shutdown()
        stop_by_signal()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    @app.shutdown
    async def hangs() -> None:
        stop_by_signal()
        await asyncio.Event().wait()

    @app.shutdown
    async def bye() -> None:
        await a_while()  # no signal is meant for this one
        seen.append("bye")

    app.run()
    assert seen == ["ended", "bye"]
    assert [r.getMessage().rpartition(")")[2] for r in caplog.records] == [" was cut short"]


def test_a_signal_ends_a_startup_that_hangs() -> None:
    app, seen = Quiet(), []

    @app.startup
    async def hangs() -> None:
        stop_by_signal()
        await asyncio.Event().wait()

    @app.shutdown
    async def bye() -> None:
        seen.append("bye")

    app.run()
    assert seen == ["bye"]


def test_what_startup_or_listen_raise_comes_out_of_run() -> None:
    class App(Listener):
        async def listen(self) -> None:
            raise OSError("port taken")

    seen = []

    async def bye() -> None:
        seen.append("bye")

    async def broken() -> None:
        raise LookupError("no file")

    app = App()
    app.add_shutdown_callback(bye)
    with pytest.raises(OSError, match="port taken"):
        app.run()
    app.add_startup_callback(broken)
    with pytest.raises(LookupError, match="no file"):
        app.run()
    assert seen == ["bye", "bye"]


def test_a_listener_without_listen_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Listener needs an `async def listen"):
        Listener().run()


def test_an_unknown_option_is_refused_when_it_runs() -> None:
    with pytest.raises(ConfigurationError, match="no option 'grace'"):
        Quiet(grace=3).run()


def test_one_listener_runs_in_each_thread() -> None:
    app, other, seen = Quiet(), Quiet(), []

    @app.startup
    async def go() -> None:
        seen.append(get_current_running_listener())
        with pytest.raises(DuplicateListener, match="runs in this thread already"):
            other.run()
        done = threading.Event()
        thread = threading.Thread(target=lambda: (other.run(), done.set()))
        thread.start()
        assert await asyncio.to_thread(done.wait, 10)
        thread.join()
        await app.graceful_shutdown()

    @other.startup
    async def there() -> None:
        seen.append(get_current_running_listener())
        await other.graceful_shutdown()

    with pytest.raises(ListenerNotFound):
        get_current_running_listener()
    app.run()
    assert seen == [app, other]
    with pytest.raises(ListenerNotFound):
        get_current_running_listener()


def test_the_parts_of_its_life_can_be_overridden() -> None:
    seen = []

    class App(Quiet):
        @staticmethod
        def setup_event_loop() -> asyncio.AbstractEventLoop:
            seen.append("loop")
            return asyncio.SelectorEventLoop()

        def install_signal_handlers(self) -> None:
            seen.append("signals")

        async def wait_for_shutdown(self) -> None:
            assert isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop)
            seen.append("wait")

    App().run()
    assert seen == ["loop", "signals", "wait"]


def test_run_needs_and_leaves_no_current_event_loop() -> None:
    seen = []

    def in_fresh_thread() -> None:
        app = Quiet()

        @app.startup
        async def go() -> None:
            seen.append(asyncio.get_running_loop().is_running())
            await app.graceful_shutdown()

        app.run()

    thread = threading.Thread(target=in_fresh_thread)
    thread.start()
    thread.join(10)
    assert seen == [True]


def test_ctrl_c_works_where_no_signal_handler_is_installed() -> None:
    seen = []

    class App(Quiet):
        def install_signal_handlers(self) -> None:
            """None."""

    app = App()

    @app.startup
    async def go() -> None:
        stop_by_signal()

    @app.shutdown
    async def bye() -> None:
        seen.append("bye")

    with pytest.raises(KeyboardInterrupt):
        app.run()
    assert seen == ["bye"]


# -- errors


def test_every_error_of_events_is_a_listener_error() -> None:
    kinds = [
        ContextAlreadyExists,
        ContextNotFound,
        DuplicateListener,
        EventAlreadyDone,
        EventAlreadyExists,
        EventNotFound,
        ListenerNotFound,
        RouteError,
        PathParamsError,
        EventDataError,
    ]
    assert all(issubclass(kind, ListenerError) for kind in kinds)
    assert issubclass(ListenerError, WeebillError)
    assert issubclass(RouteError, PatternError)


def test_the_repr_of_each_thing_names_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    app = Quiet()
    app.on_event("/{name}")(get_name)
    route, params = app.match_route("/ann")
    ctx = app.new_ctx("mine")
    assert repr(app) == "<Quiet with 1 routes>"
    assert repr(route).startswith("<Route '/{name}' get_name (")
    assert repr(ctx) == "<Context 'mine'>"
    assert repr(ctx.new_event(route, params=params)) == "<Event '/{name}' {'name': 'ann'}>"
