"""Every command of the documentation runs.

Pages run in order: first the tutorial, in a folder like that of a fresh clone, then all others in one folder that has
what they take for granted (site.py). rules.py lists the commands that are run with changes, or elsewhere.

- An indented block holds commands, one on each line.
- A fenced block that names a file after its language is written to that file.
- `python` blocks are run; `console` blocks too, and print what the page says.
- Other fenced blocks are to be read.
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.pages import DOCS, PAGES, ROOT, Block, blocks, name
from tests.docs.rules import RULES
from tests.docs.site import furnish
from tests.docs.workshop import Workshop, without_comment
from tests.rollouts.conftest import Endpoint

pytestmark = pytest.mark.megatron

TUTORIAL = DOCS / "tutorial.md"
OTHERS = [page for page in PAGES if page != TUTORIAL and any(blocks(page))]


def tutorial_blocks(*, on_a_laptop: bool) -> list[Block]:
    """Blocks of the tutorial: those for a laptop, or those of its last section, for a cluster."""
    before = TUTORIAL.read_text(encoding="utf-8").partition("\n## The real model\n")[0].count("\n")
    return [block for block in blocks(TUTORIAL) if (block.line <= before) == on_a_laptop]


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The caller's environment without what changes what commands do."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("NEMO_RUN_DIR", "NEMOTRON_ARTIFACTS", "NEMOTRON_ENV_FILE", "WANDB_PROJECT", "HF_TOKEN"):
            patch.delenv(variable, raising=False)
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{os.environ.get('PYTHONPATH', '')}")
        yield


@pytest.fixture(scope="module")
def laptop(surroundings: None, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The folder of the tutorial, when it is through."""
    shop = Workshop(tmp_path_factory.mktemp("laptop"))
    for block in tutorial_blocks(on_a_laptop=True):
        shop.run_block(block)
    return shop


@pytest.fixture(scope="module")
def site(laptop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """The folder of all other pages, with a server of a model."""
    served = Endpoint()
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    shop = Workshop(tmp_path_factory.mktemp("site"))
    shop.adds["nemotron super3 data rollouts"] = (f"endpoint.base_url={served.url}", "prompts.samples=4")
    furnish(shop, laptop)
    shop.keep()
    yield shop
    served.shutdown()
    served.server_close()


def test_the_tutorial_runs(laptop: Workshop) -> None:
    assert (laptop.folder / "output/my_run/hf/config.json").is_file()


def test_the_tutorial_leads_to_the_real_model(site: Workshop) -> None:
    for block in tutorial_blocks(on_a_laptop=False):
        site.run_block(block)
        site.restore()


@pytest.mark.parametrize("page", OTHERS, ids=name)
def test_a_page_runs(page: Path, site: Workshop) -> None:
    for block in blocks(page):
        site.run_block(block)
        site.restore()


def test_every_rule_is_needed_and_names_what_exists() -> None:
    lines = [line for page in PAGES for block in blocks(page) if not block.info for line in block.text.splitlines()]
    commands = [without_comment(line).removeprefix("uv run ") for line in lines]
    commands += [without_comment(line) for line in lines if "--project" in line]
    assert [rule.pattern for rule in RULES if not any(map(rule.matches, commands))] == []
    assert [rule.elsewhere for rule in RULES if rule.elsewhere and not (ROOT / rule.elsewhere).is_file()] == []
