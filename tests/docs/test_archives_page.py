"""What an archive leaves out is said where archives are spoken of, and by the commands themselves."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from app.cli import run
from app.jobs.places import jobs_path
from app.keys import create_key, keys_path
from graph_store.data_dir import DataDir

ROOT = Path(__file__).parents[2]
HINT = "imsage keys create"


def test_keys_stay_out_of_an_archive_and_an_import_says_so(
    ingested_copy: DataDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create_key(ingested_copy, "shop", "read")
    jobs_path(ingested_copy).write_bytes(b"")
    archive, restored = tmp_path / "backup.tar", tmp_path / "restored"
    assert run(["export", str(archive), "--data", str(ingested_copy.root)]) == 0
    with tarfile.open(archive) as file:
        assert not {"keys.json", "jobs.sqlite"} & set(file.getnames())

    capsys.readouterr()
    assert run(["import", str(archive), "--data", str(restored)]) == 0
    assert HINT in capsys.readouterr().out


def test_an_import_beside_keys_says_nothing_of_them(
    ingested_copy: DataDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, restored = tmp_path / "backup.tar", DataDir(tmp_path / "restored")
    assert run(["export", str(archive), "--data", str(ingested_copy.root)]) == 0
    create_key(restored, "shop", "read")

    assert run(["import", str(archive), "--data", str(restored.root)]) == 0
    assert HINT not in capsys.readouterr().out
    assert keys_path(restored).exists()


@pytest.mark.parametrize(
    ("page", "beginning"),
    [("files.md", "# Files"), ("operations.md", "## Back-up"), ("tutorial.md", "## 7. Keep it safe")],
)
def test_every_page_that_speaks_of_keeping_a_catalogue_says_where_the_originals_are(
    page: str, beginning: str
) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    part = text[text.index(beginning) + 1 :].partition("\n## ")[0]
    # The drawing of the folder has a note of its own.
    assert "--keep-originals" in part.partition("```\nD/")[0]


@pytest.mark.parametrize("page", ["files.md", "operations.md", "tutorial.md", "cli.md"])
def test_every_page_about_archives_says_that_keys_are_not_in_them(page: str) -> None:
    paragraphs = (ROOT / "docs" / page).read_text(encoding="utf-8").split("\n\n")
    assert any("API keys" in each and ("archive" in each or "import" in each) for each in paragraphs)
