"""Flags that were renamed: the old name gives one line with the new one."""

from importlib import import_module
from inspect import signature

import pytest

from longform.cli import RENAMED, describe_renamed, main
from longform.cli.flags import LocalFlags
from longform.records.errors import BadInputError

EVERY = [(command, old, new) for command, flags in RENAMED.items() for old, new in flags.items()]


@pytest.mark.parametrize(("command", "old", "new"), EVERY)
def test_an_old_flag_gives_one_line_that_names_the_new_one(command, old, new, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "file", old, "value"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"longform: {old}: renamed to {new}\n"
    assert describe_renamed([command, f"{old}=value"]) == f"{old}: renamed to {new}"


def test_the_same_word_elsewhere_is_left_alone():
    assert describe_renamed(["arena", "--per-judge"]) is None
    assert describe_renamed(["grade", "--near", "1"]) is None
    assert describe_renamed([]) is None


@pytest.mark.parametrize("command", sorted({command for command, *_ in EVERY} - {"preferences"}))
def test_every_new_flag_is_a_flag_of_its_command(command):
    function = getattr(import_module(f"longform.cli.{command}"), command)
    flags = {f"--{name.replace('_', '-')}" for name in signature(function).parameters}
    assert flags.issuperset(RENAMED[command].values())
    assert flags.isdisjoint(RENAMED[command])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("train", "RECIPE is missing: longform train needs it as an argument; see `longform train --help`"),
        ("grade r.jsonl --prompts p.jsonl --judge j", "--out: is required, with a value; see `longform grade --help`"),
        ("runs a b", "unexpected argument b; `longform runs --help` lists what it takes"),
    ],
)
def test_missing_and_surplus_arguments_are_named_as_they_are_typed(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments.split())
    assert (caught.value.code, capsys.readouterr().err) == (2, f"longform: {message}\n")


def test_an_interrupt_that_a_compiled_module_hides_while_it_is_imported_is_one_line(monkeypatch, capsys):
    def imports(arguments):
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("initialization failed") from error

    monkeypatch.setattr("longform.cli._run", imports)
    with pytest.raises(SystemExit) as caught:
        main(["runs"])
    assert caught.value.code == 3
    assert capsys.readouterr().err.startswith("longform: interrupted; completed work is kept")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"template_kwargs": "[1]"}, "--template-kwargs"),
        ({"template_kwargs": "{"}, "--template-kwargs"),
        ({"tensor_parallel": 2}, "--engine-address and --tensor-parallel: only valid with --engine vllm or sglang"),
        ({"engine_address": "http://127.0.0.1:8000"}, "--engine-address and --tensor-parallel: only valid with"),
        (
            {"engine": "vllm", "engine_address": "http://127.0.0.1:8000", "tensor_parallel": 2},
            "--tensor-parallel: only valid for a server that is started, without --engine-address",
        ),
        (
            {"engine": "sglang", "engine_address": "127.0.0.1"},
            "--engine-address 127.0.0.1: must be an address such as http://127.0.0.1:8000",
        ),
        ({"engine": "paged", "chat_template": "off", "template_kwargs": '{"a": 1}'}, None),
        ({"engine": "vllm", "tensor_parallel": 2}, None),
    ],
)
def test_flags_of_a_local_model_that_do_not_go_together_are_refused(flags, message):
    if message is None:
        made = LocalFlags(**flags).parse()
        assert (made.engine, made.server.tensor_parallel) == (flags["engine"], flags.get("tensor_parallel", 1))
        return
    with pytest.raises(BadInputError) as error:
        LocalFlags(**flags).parse()
    assert str(error.value).startswith(message)
