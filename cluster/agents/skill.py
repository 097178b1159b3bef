"""The skill: a file that teaches an agent the workflow, and what may not be concluded."""

from pathlib import Path


def skill_text() -> str:
    """The skill, in the form that agents read from a file named SKILL.md."""
    return Path(__file__).with_name("SKILL.md").read_text(encoding="utf-8")
