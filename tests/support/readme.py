"""README's example of Python, and what it needs: articles and a study in a folder."""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

README = Path(__file__).parents[2] / "README.md"
WORDS = {"garden": "soil seed root leaf bloom hedge", "harbour": "anchor tide crane vessel cargo rope"}
STUDY = {
    "study": "my-study",
    "data": "prepared",
    "summary": "summary",
    "task": "classification",
    "model": {"embedding_units": 6, "lstm_units": 5},
    "axes": {"global_batch": [17, "full"], "learning_rate": 0.01, "seeds": 1},
    "budget": {"updates": 6},
    "evaluate_every": {"updates": 3},
    "resources": {"lanes": 1, "workers": 1},
}


def example() -> str:
    """The only block of Python in README."""
    [code] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    return str(code)


def write_what_it_needs(folder: Path) -> None:
    """Write `articles.parquet`, with the columns `body` and `topic`, and `study.yaml`."""
    topics = sorted(WORDS) * 60
    bodies = [" ".join(WORDS[topic].split()[number % 5 :]) + f" no {number}" for number, topic in enumerate(topics)]
    pq.write_table(pa.table({"body": bodies, "topic": topics}), folder / "articles.parquet")
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
