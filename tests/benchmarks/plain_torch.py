"""PyTorch's side of `tests.benchmarks.rows_per_second`: the loop that its user would write, of the same model and rows.

An embedding, an LSTM over the padded batch, the state at each row's last token, a linear layer, cross entropy, Adam.
Each batch is right-padded to its own longest row and read ahead by a thread. Not part of the dependencies: install
PyTorch beside them where it is to be measured.
"""

import time
from collections.abc import Iterator
from typing import Any


class Torch:
    """PyTorch's side: a plain training loop."""

    def __init__(self, settings: Any) -> None:
        import torch

        from tests.benchmarks.rows_per_second import _trial
        from tests.conftest import hash_of
        from trainer.data.splits import open_data
        from trainer.data.store import Folder

        torch.set_num_threads(settings.threads)
        torch.manual_seed(0)
        manifest, data = open_data(Folder(settings.data), hash_of(settings.data))
        self.settings, self.trial, self.rows = settings, _trial(settings), data.train
        self.embedding = torch.nn.Embedding(manifest.vocabulary_size, settings.embedding_units)
        self.lstm = torch.nn.LSTM(settings.embedding_units, settings.lstm_units, batch_first=True)
        self.dropout = torch.nn.Dropout(settings.dropout)
        self.head = torch.nn.Linear(settings.lstm_units, len(manifest.label_names))
        modules = torch.nn.ModuleList([self.embedding, self.lstm, self.dropout, self.head])
        self.optimizer = torch.optim.Adam(modules.parameters(), lr=self.trial.learning_rate, eps=1e-7)

    def block(self, first: int, updates: int) -> Any:
        """Updates `first` to `first + updates`."""
        import torch

        from tests.benchmarks.rows_per_second import Block
        from trainer.data.rows import read_ahead

        real = padded = 0
        started = time.perf_counter()
        for tokens, lengths, labels in read_ahead(self._batches(first, updates)):
            states, _ = self.lstm(self.embedding(tokens))
            last = states[torch.arange(len(lengths)), lengths - 1]
            loss = torch.nn.functional.cross_entropy(self.head(self.dropout(last)), labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            loss.item()
            real, padded = real + int(lengths.sum()), padded + tokens.numel()
        return Block(time.perf_counter() - started, real, padded)

    def _batches(self, first: int, updates: int) -> Iterator[Any]:
        import torch

        from trainer.order import plan
        from trainer.order.permutation import rows_at

        for update in range(first, first + updates):
            positions = plan.positions_of(update, self.settings.global_batch)
            numbers = rows_at(positions, rows=len(self.rows), seed=self.trial.seed)
            lengths = self.rows.lengths(numbers)
            tokens = self.rows.tokens(numbers)[:, : max(1, lengths.max())]
            labels = self.rows.labels(numbers).astype("int64")
            yield torch.from_numpy(tokens), torch.from_numpy(lengths), torch.from_numpy(labels)
