"""The command line: `weebill run`, `weebill dev`, `weebill routes`.

The options of the server come from the settings table; here they only become click's. Every command ends
with an exit code: 0 clean, 2 used wrongly, 3 could not start.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from . import __version__
from .app import App
from .bridges import adapt
from .errors import StartError
from .functions import describe
from .loading import explain, is_listener, load, locate, shorten
from .settings import Option, Settings, options
from .settings import load as load_settings

if TYPE_CHECKING:
    from .server.reload import ParentLink

__all__ = ["main", "settings_page"]

F = TypeVar("F", bound=Callable[..., Any])

USED_WRONGLY = 2
COULD_NOT_START = 3
INTERRUPTED = 130  # what shells expect after Ctrl+C

# What `weebill dev` has where nothing else is said. Short grace: a stream open in a browser tab would
# hold up every restart.
DEV: Mapping[str, Any] = {"debug": True, "access_log": True, "graceful_timeout": 1.0}


def main() -> None:
    """Run the command line of this process and end it with its exit code."""
    raise SystemExit(_exit_code())


def _exit_code() -> int:
    try:
        return int(weebill.main(prog_name="weebill", standalone_mode=False) or 0)
    except click.UsageError as error:
        click.echo(f"weebill: {_sentence(error)}", err=True)
        return USED_WRONGLY
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:
        click.echo(explain(error), err=True, nl=False)
        return COULD_NOT_START


def _sentence(error: click.UsageError) -> str:
    command = error.ctx.command_path if error.ctx else "weebill"
    if isinstance(error, click.NoSuchOption):
        near = f"; did you mean {error.possibilities[0]}?" if error.possibilities else ""
        more = "" if near else f"; {command} --help lists those there are"
        return f"there is no option {error.option_name}{near or more}"
    return error.format_message()


# -- the settings as click's options


class SettingOption(click.Option):
    """An option of the settings table."""

    def __init__(self, setting: Option) -> None:
        self.setting = setting
        flag = setting.flag
        is_flag = setting.type is bool
        super().__init__(
            [f"{flag}/--no-{flag[2:]}" if is_flag else flag, setting.name],
            default=None,
            type=bool if is_flag else str,
            help=_help(setting),
            metavar=_metavar(setting),
            callback=_check,
        )


def _metavar(setting: Option) -> str | None:
    if setting.type is bool:
        return None
    if setting.kind:
        return {"size": "SIZE", "duration": "TIME"}[setting.kind]
    if setting.choices:
        return "CHOICE"
    return "NUMBER" if setting.type is int else "TEXT"


def _help(setting: Option, quote: str = "") -> str:
    if not setting.choices:
        return setting.help
    return f"{setting.help} One of {', '.join(f'{quote}{choice}{quote}' for choice in setting.choices)}."


def _check(_: click.Context, parameter: click.Parameter, value: Any) -> Any:
    assert isinstance(parameter, SettingOption)
    try:
        return None if value is None else parameter.setting.check(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


class ServerCommand(click.Command):
    """A command that takes the options of the settings table, in their groups in the help."""

    def __init__(self, *args: Any, defaults: Mapping[str, Any] | None = None, **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.params += map(SettingOption, options())
        self.defaults = defaults or {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the own options, then each group of settings with all the names that a setting has."""
        given = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        own = [p.get_help_record(ctx) for p in given if not isinstance(p, SettingOption)]
        with formatter.section("Options"):
            formatter.write_dl([record for record in own if record])
        formatter.write_paragraph()
        formatter.write_text(
            "Below each option: its environment variable, and its key and default in [tool.weebill] of "
            "pyproject.toml. The command line goes first, then the environment, then the file."
        )
        settings = [p for p in given if isinstance(p, SettingOption)]
        for group in dict.fromkeys(p.setting.group for p in settings):
            with formatter.section(group):
                formatter.write_dl(
                    [row for p in settings if p.setting.group == group for row in self._rows(ctx, p)]
                )

    def _rows(self, ctx: click.Context, parameter: SettingOption) -> list[tuple[str, str]]:
        setting = parameter.setting
        record = parameter.get_help_record(ctx)
        assert record is not None
        line = _toml(setting, self.defaults.get(setting.name, setting.default))
        return [record, ("", f"{', '.join(setting.env)}; {line}")]


def _toml(setting: Option, value: Any) -> str:
    """The line of pyproject.toml that gives `setting` this value."""
    text = setting.show(value)
    if setting.type is bool:
        text = "true" if value else "false"
    elif setting.kind or setting.type is str:
        text = f'"{text}"'
    return f"{setting.name} = {text}"


def _program_argument(function: F) -> F:
    for decorate in (
        click.option(
            "--app-dir",
            type=click.Path(path_type=Path),
            default=".",
            metavar="FOLDER",
            help="Folder to find the program in.",
        ),
        click.argument("program", required=False),
    ):
        function = decorate(function)
    return function


class Commands(click.Group):
    """The commands; one that is not there is met with the one that was meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of `args`. Raises UsageError."""
        name = args[0]
        if not name.startswith("-") and name not in self.commands:
            from difflib import get_close_matches  # only a mistake needs it

            near = get_close_matches(name, self.commands, 1)
            meant = f"weebill {near[0]}" if near else f"weebill run {name}"
            raise click.UsageError(f"there is no command {name!r}; did you mean {meant}?", ctx)
        return super().resolve_command(ctx, args)


# -- the commands


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="weebill", message="%(prog)s %(version)s")
@click.pass_context
def weebill(ctx: click.Context) -> int | None:
    """A small web framework that brings its own HTTP server."""
    if ctx.invoked_subcommand is not None:
        return None
    click.echo(ctx.get_help(), err=True)
    ctx.exit(USED_WRONGLY)


@weebill.command(cls=ServerCommand)
@_program_argument
def run(program: str | None, app_dir: Path, **given: Any) -> int:
    """Serve PROGRAM: module:app, file.py or file.py:app.

    Without one: $WEEBILL_APP, else `app` of [tool.weebill] in pyproject.toml, else app.py or main.py. It may
    be an App, a Listener, an ASGI or WSGI application, a handler class of http.server, or a function
    without parameters that makes one.
    """
    settings = load_settings(given)
    return _serve(load(locate(program, app_dir)), settings, given)


@weebill.command(cls=ServerCommand, defaults=DEV)
@_program_argument
def dev(program: str | None, app_dir: Path, **given: Any) -> int:
    """Serve PROGRAM while you write it.

    As `weebill run`, and it restarts when a Python file or a template changes, shows tracebacks in the
    browser and logs each answer. Standard input is the reloader's: for breakpoint(), use weebill run --debug.
    """
    from .server.reload import ParentLink, reload

    settings = load_settings(given, defaults=DEV)
    target = locate(program, app_dir)
    parent = ParentLink.of_this_process()
    if parent is None and sys.platform != "win32":
        return reload(target.folder, settings, [sys.executable, *sys.orig_argv[1:]])
    if parent is None:
        click.echo("weebill: on Windows changes are not watched; restart it yourself", err=True)
    return _serve(load(target), settings, given, parent)


@weebill.command()
@_program_argument
def routes(program: str | None, app_dir: Path) -> int:
    """List the routes of PROGRAM: method, path, name and handler."""
    target = locate(program, app_dir)
    found = load(target)
    rows = route_rows(found if is_listener(found) else adapt(found))
    if rows is None:
        raise StartError(f"{target} is no App and no Listener, so its routes cannot be listed")
    rows.insert(0, ("METHOD", "PATH", "NAME", "HANDLER"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


@weebill.command("settings", hidden=True)
def settings_command() -> int:
    """Print docs/settings.md."""
    click.echo(settings_page(), nl=False)
    return 0


# -- what they do


def _serve(
    program: Any, settings: Settings, given: Mapping[str, Any], parent: ParentLink | None = None
) -> int:
    """Serve until stopped. `given` is what the command line said, which goes before a Listener's own."""
    if is_listener(program):
        if parent is not None:
            parent.follow()
        own = {name: getattr(settings, name) for name in DEV}
        said = {name: value for name, value in given.items() if value is not None}
        program.options = {**own, **program.options, **said}
        program.run()
        return 0
    application = adapt(program, settings.interface, settings.root_path)
    if isinstance(application, App):
        application.debug = application.debug or settings.debug
    sockets = None
    if parent is not None:
        sockets = parent.borrow_sockets()
        parent.follow()
    from .server.worker import serve

    return serve(application, settings, sockets)


def route_rows(program: Any) -> list[tuple[str, str, str, str]] | None:
    """(method, path, name, handler with its place) for each route; None for a program without any."""
    if is_listener(program):
        return [
            ("EVENT", route.path, name, shorten(describe(route.fn))) for name, route in program.routes.items()
        ]
    if not isinstance(program, App):
        return None
    rows = []
    for r in program.routes:
        path = (f"//{r.host.text}" if r.host else "") + r.pattern.text
        if r.application is None:
            rows.append((",".join(r.methods), path, r.name, shorten(describe(r.handler))))
            continue
        inside = route_rows(r.application) or [("*", "/*", "", type(r.application).__name__)]
        rows += [(methods, path + rest, name, handler) for methods, rest, name, handler in inside]
    return rows


def settings_page() -> str:
    """docs/settings.md: every option with all its names."""
    lines = [
        "# Settings",
        "",
        "Each option can be said in four places, and the first of them that says it wins: the command line",
        "(`weebill run --port 80`, or the arguments of `App.run(port=80)`); the environment;",
        "`[tool.weebill]` in the pyproject.toml of the current folder; the default. Durations are written",
        "`30s`, `1.5m` or `200ms`, sizes `16MiB` or `500kB`; a bare number means seconds or bytes.",
        "",
        "`weebill dev` has other defaults: "
        + ", ".join(f"`{_toml(o, DEV[o.name])}`" for o in options() if o.name in DEV)
        + ".",
        "",
        "Which program is served is said as `weebill run module:app`, by `WEEBILL_APP`, or by",
        '`app = "module:app"` in `[tool.weebill]`.',
    ]
    for group in dict.fromkeys(o.group for o in options()):
        lines += ["", f"## {group}", "", "| Option | Environment | `[tool.weebill]` and default | |"]
        lines.append("| --- | --- | --- | --- |")
        for o in (o for o in options() if o.group == group):
            flag = f"`{o.flag}`, `--no-{o.flag[2:]}`" if o.type is bool else f"`{o.flag}`"
            env = ", ".join(f"`{name}`" for name in o.env)
            lines.append(f"| {flag} | {env} | `{_toml(o, o.default)}` | {_help(o, '`')} |")
    return "\n".join(lines) + "\n"
