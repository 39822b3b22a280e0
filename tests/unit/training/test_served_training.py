"""Training on tokens that a vLLM or SGLang server drew; a server with their protocols and real weights stands in."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from toy import save_model, train_toy

from longform.records.errors import BadInputError, StoppedError
from longform.records.files import read_rows, write_rows
from longform.records.run_directory import RunDirectory
from longform.records.schemas import Prompt, Response
from longform.rl.settings import LoraSettings, MemorySettings
from longform.selection.generate import generate
from longform.training.lora import AdaptedModels
from longform.training.models import FullModels
from longform.training.policy_writer import PolicyWriter
from longform.training.self_check import check_served
from longform.writers.local import open_writer
from longform.writers.self_check import random_prompts, uncached_log_probs
from longform.writers.served.server import EngineServer, _ServerFailedError, check_server, open_server
from longform.writers.settings import GenerationSettings, LocalOptions, ServerSettings
from longform.writers.stops import Stops
from served_engines import on_path, running

SETTINGS = {"max_tokens": 8, "temperature": 0.7}
DEFAULTS = {"device": "cpu", "with_reference": False, "initial_value": None, "memory": MemorySettings()}


@pytest.fixture(autouse=True)
def engines(tmp_path_factory, monkeypatch):
    on_path(tmp_path_factory.mktemp("bin"), monkeypatch)


@pytest.fixture
def start(tmp_path):
    return save_model(tmp_path / "start")


def settings_of(engine, **server):
    return GenerationSettings.model_validate({**SETTINGS, "engine": engine, "server": server})


def models_of(start, kind):
    if kind == "adapters":
        return AdaptedModels(str(start), **DEFAULTS, lora=LoraSettings(rank=2), seed=0)
    return FullModels(str(start), **DEFAULTS)


def move(models):
    """An update of the policy that no rounding explains."""
    with torch.no_grad():
        for parameter in models.policy_parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))


def serve(start, settings, kind) -> EngineServer:
    server = open_server(
        settings, model=str(start), longest=64, precision="float32", adapter_rank=2 if kind == "adapters" else None
    )
    assert isinstance(server, EngineServer)
    return server


def check_writing(models, writer, *, step):
    """Responses, whose log-probabilities are those of a forward pass of the present policy."""
    with models.as_policy() as policy:
        prompts = random_prompts(policy) * 2
    finished = []
    written = writer.write(prompts, step=step, on_finished=lambda row, it: finished.append(row))
    assert sorted(finished) == list(range(6)), "each response is reported once"
    with models.as_policy() as policy:
        for prompt, it in zip(prompts, written, strict=True):
            expected = uncached_log_probs(policy, prompt, it.tokens, temperature=0.7)
            assert torch.allclose(it.log_probs, expected, atol=1e-4)
            assert it.finish_reason == ("stop" if it.tokens[-1] == 0 else "length")
    return torch.cat([it.log_probs for it in written])


@pytest.mark.parametrize("kind", ["weights", "adapters"])
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_server_writes_with_the_present_weights(start, engine, kind):
    models = models_of(start, kind)
    with running(engine, start) as address:
        settings = settings_of(engine, address=address)
        with serve(start, settings, kind) as server:
            writer = PolicyWriter(models, settings, seed=1, server=server)
            first = check_writing(models, writer, step=1)
            move(models)
            second = check_writing(models, writer, step=1)
            assert first.shape != second.shape or not torch.equal(first, second)
        # A run that was killed and goes on finds its weights on the server.
        with serve(start, settings, kind) as server:
            check_writing(models, PolicyWriter(models, settings, seed=1, server=server), step=2)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_server_of_another_model_is_refused(start, tmp_path, engine):
    other = save_model(tmp_path / "other")
    with running(engine, start) as address:
        settings = settings_of(engine, address=address, sleep=False)
        written = {"seed": 0, "step": 0, "stops": Stops(frozenset([0]), read=str), "settings": settings}
        with serve(start, settings, None) as server:
            assert len(server.write([[1, 2]], **written)) == 1
        with (
            serve(other, settings, None) as server,
            pytest.raises(StoppedError, match=r"serves .*start|404|does not exist"),
        ):
            server.write([[1, 2]], **written)


def test_a_server_that_dies_is_started_again_and_nothing_is_lost(start, monkeypatch):
    monkeypatch.setenv("DIES_AFTER", "9")
    models, settings = models_of(start, "weights"), settings_of("vllm")
    with serve(start, settings, "weights") as server:
        writer = PolicyWriter(models, settings, seed=1, server=server)
        check_writing(models, writer, step=1)
        move(models)
        check_writing(models, writer, step=2)


def test_a_server_that_dies_again_and_again_stops_the_run(start, monkeypatch):
    with running("vllm", start) as address:
        settings = settings_of("vllm", address=address)
        with serve(start, settings, "weights") as server:
            writer = PolicyWriter(models_of(start, "weights"), settings, seed=1, server=server)

            async def die(requests, finish):
                raise _ServerFailedError("/v1/completions: connection reset")

            monkeypatch.setattr(server, "_write_rows", die)
            with pytest.raises(StoppedError, match=r"failed 3 times in a row: /v1/completions: connection reset"):
                writer.write([[1, 2]], step=1)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_server_that_keeps_old_weights_is_found_before_the_first_step(start, engine):
    models = models_of(start, "weights")
    with running(engine, start, is_stale=True) as address:
        settings = settings_of(engine, address=address)
        with serve(start, settings, "weights") as server:
            check_served(models, server, path="policy", settings=settings)
            move(models)
            with pytest.raises(BadInputError, match=rf"log-probabilities of the {engine} server .* disagree by up to"):
                check_served(models, server, path="policy", settings=settings)


def test_a_server_that_lost_the_adapters_refuses_the_request(start):
    models = models_of(start, "adapters")
    with running("vllm", start) as address:
        settings = settings_of("vllm", address=address, sleep=False)
        with serve(start, settings, "adapters") as server:
            writer = PolicyWriter(models, settings, seed=1, server=server)
            writer.write([[1, 2]], step=1)
            assert server._weights is not None
            server._ask(server._protocol.unload(server._weights))
            with pytest.raises(StoppedError, match=r"The model `policy-.*` does not exist"):
                server.write([[1, 2]], seed=1, step=1, stops=writer._stops, settings=settings)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_server_with_weights_of_an_earlier_run_writes_for_nobody_else(start, engine):
    with running(engine, start) as address:
        settings = settings_of(engine, address=address, sleep=False)
        with serve(start, settings, "weights") as server:
            PolicyWriter(models_of(start, "weights"), settings, seed=1, server=server).write([[1, 2]], step=1)
        stops = PolicyWriter(models_of(start, "weights"), settings, seed=1)._stops
        started_with = "not with the weights that it was started with|serves .*weights-"
        with serve(start, settings, "weights") as server, pytest.raises(StoppedError, match=started_with):
            server.write([[1, 2]], seed=1, step=2, stops=stops, settings=settings)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_server_that_another_run_uses_is_told_by_the_version_of_its_weights(start, engine):
    models = models_of(start, "weights")
    with running(engine, start) as address:
        settings = settings_of(engine, address=address, sleep=False)
        with serve(start, settings, "weights") as mine, serve(start, settings, "weights") as another:
            writer = PolicyWriter(models, settings, seed=1, server=mine)
            writer.write([[1, 2]], step=1)
            PolicyWriter(models, settings, seed=1, server=another).write([[1, 2]], step=1)
            with pytest.raises(StoppedError, match="not with the policy's weights"):
                mine.write([[1, 2]], seed=1, step=2, stops=writer._stops, settings=settings)


@pytest.mark.parametrize("method", ["grpo", pytest.param("ppo", marks=pytest.mark.full)])
def test_the_policy_learns_from_a_server_and_a_stopped_run_goes_on(start, tmp_path, method):
    data = {"ladders": "unused.jsonl", "per_step": 8, "group": 4} if method == "grpo" else {"ladders": "unused.jsonl"}
    sections = {"method": method, "data": data, "optim": {"lr": 0.02, "warmup_steps": 0}}
    with running("vllm", start) as address:
        sections["generation"] = {"max_tokens": 8, "engine": "vllm", "server": {"address": address}}
        train_toy(start, tmp_path, sections, steps=12, stop_after=6)
        train_toy(start, tmp_path, sections, steps=12)
    with RunDirectory.read(tmp_path / "toy") as run:
        rewards = [value for _, value in run.database.metric("reward/mean")]
        assert len(rewards) == 12
        assert sum(rewards[-3:]) > sum(rewards[:3]) + 0.3
        assert max(value for _, value in run.database.metric("engine/largest")) < 1e-4


@pytest.mark.parametrize("engine", ["vllm", pytest.param("sglang", marks=pytest.mark.full)])
def test_a_server_draws_from_the_distribution_of_the_own_engine(start, engine):
    """First tokens, at a temperature and with a nucleus, of 600 rows each."""
    models = models_of(start, "weights")
    with running(engine, start) as address:
        settings = settings_of(engine, address=address).model_copy(update={"max_tokens": 1, "top_p": 0.7})
        with serve(start, settings, "weights") as server:
            served = PolicyWriter(models, settings, seed=1, server=server).write([[1, 2]] * 600, step=1)
    own = PolicyWriter(models, settings.model_copy(update={"engine": "own"}), seed=2).write([[1, 2]] * 600, step=1)
    counts = torch.stack([torch.bincount(torch.cat([it.tokens for it in some]), minlength=8) for some in (served, own)])
    assert ((counts[0] > 0) == (counts[1] > 0)).all(), "the same nucleus"
    assert 2 < int((counts.sum(0) > 0).sum()) < 8
    expected = counts.sum(0) / 2
    chi_square = float((((counts - expected) ** 2) / expected.clamp(min=1)).sum())
    assert chi_square < 25, "seven degrees of freedom at most: beyond 25 by chance in one of a thousand"


def test_a_missing_engine_is_named_with_the_remedy(start, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(
        BadInputError, match=r"there is no command 'vllm' here; install vllm .* generation.server.address"
    ):
        serve(start, settings_of("vllm"), "weights").__enter__()


def test_a_dry_run_finds_a_missing_engine_and_a_server_that_does_not_answer(monkeypatch):
    check_server(settings_of("vllm"))
    check_server(GenerationSettings())
    with pytest.raises(BadInputError, match=r"no sglang server answers at http://127.0.0.1:9; start it first"):
        check_server(settings_of("sglang", address="http://127.0.0.1:9"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BadInputError, match="there is no command 'sglang' here"):
        check_server(settings_of("sglang"))


def test_a_command_that_only_writes_finds_a_wrong_address_before_it_waits(start):
    local = LocalOptions(engine="vllm", server=ServerSettings(address="http://127.0.0.1:9", sleep=False))
    with open_writer(str(start), local) as writer, pytest.raises(BadInputError, match="no vllm server answers"):
        writer.prepare(local.generation(max_tokens=8), longest_prompt=4)


def test_a_server_that_cannot_start_is_quoted(start):
    with pytest.raises(
        BadInputError, match=r"ended while it started \(exit code 2\): .*unrecognized arguments: --no-such"
    ):
        serve(start, settings_of("vllm", arguments=["--no-such"]), "weights").__enter__()


def test_an_address_where_nothing_answers_stops_resumably(start):
    settings = settings_of("vllm", address="http://127.0.0.1:9", start_seconds=0.5)
    with pytest.raises(StoppedError, match=r"does not answer within generation.server.start_seconds"):
        serve(start, settings, "weights").__enter__()


def test_adapters_on_adapters_are_refused(start, tmp_path):
    models_of(start, "adapters").save_policy(tmp_path / "adapters")
    with pytest.raises(BadInputError, match="merge them into their model first"):
        serve(tmp_path / "adapters", settings_of("vllm"), "adapters")


@pytest.mark.full  # tests/unit/training/test_engine_kills.py kills a run with its server too
def test_a_server_does_not_outlive_a_killed_run(start, tmp_path):
    script = f"""
        import os, time
        from pathlib import Path
        from longform.writers.served.server import open_server
        from longform.writers.settings import GenerationSettings, LocalOptions, ServerSettings
        with open_server(
            GenerationSettings(engine="vllm", max_tokens=8), model={str(start)!r}, longest=64, precision="float32"
        ) as server:
            Path({str(tmp_path)!r}, "pid").write_text(str(server._process.pid))
            time.sleep(600)
    """
    run = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    pid_file = tmp_path / "pid"
    _wait_for(lambda: pid_file.exists() and pid_file.read_text())
    guard = int(pid_file.read_text())
    server = int(Path(f"/proc/{guard}/task/{guard}/children").read_text().split()[0])
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    _wait_for(
        lambda: not Path(f"/proc/{server}").exists() or "Z" in Path(f"/proc/{server}/stat").read_text().split()[2]
    )


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_server_writes_for_generate_with_a_model_or_with_adapters(start, tmp_path, engine):
    models_of(start, "adapters").save_policy(tmp_path / "adapters")
    prompts = tmp_path / "prompts.jsonl"
    write_rows(prompts, [Prompt(id=str(number), prompt="write so") for number in range(5)])
    with running(engine, start) as address:
        local = LocalOptions(engine=engine, server=ServerSettings(address=address, sleep=False))
        for writer in ("start", "adapters"):
            out = tmp_path / f"{writer}.jsonl"
            assert generate(prompts, writer=str(tmp_path / writer), out=out, max_tokens=8, local=local).added == 5
            assert {it.model for it in read_rows(out, Response)} == {writer}


def _wait_for(is_so, seconds=60):
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)
