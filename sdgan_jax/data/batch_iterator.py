"""Iterator over the batches of a data set, with a position that can be saved."""

from __future__ import annotations

from typing import Any

import grain
import numpy as np
from absl import flags, logging

from sdgan_jax.data import broken

Batch = dict[str, np.ndarray]  # {"image": u8[n,R,R,3], "attributes": f32[n,A] in {0,1}}
Skipped = dict[int, str]  # reasons by the numbers of the images that were left out


class BatchIterator:
    """Endless iterator over this process's share of the batches; `position` and `skipped` are its whole state.

    Attributes:
        position: number of global batches returned so far. Assigning it moves the iterator there.
        skipped: numbers of the images that could not be read so far, and were replaced.
        max_skipped: the number of them at which the training goes on.
        dataset: name, version and size of the data set; a position is one of this data set only.
    """

    def __init__(
        self,
        batches: grain.MapDataset[tuple[Batch, Skipped]],
        read_options: grain.ReadOptions,
        num_workers: int,
        max_skipped: int,
        dataset: str,
    ):
        """Starts at the first batch.

        Args:
            batches: the batches from the first on, each with the images that are left out of it; a batch is empty
                where they are too many.
            read_options: threads and buffers.
            num_workers: number of processes that read; 0 for threads of this one.
            max_skipped: see the class.
            dataset: likewise.
        """
        self._batches = batches
        self._read_options = read_options
        self._num_workers = num_workers
        self._position = 0
        self._running: Any = None
        self.skipped: set[int] = set()
        self.max_skipped, self.dataset = max_skipped, dataset

    @property
    def position(self) -> int:
        """Number of global batches returned so far."""
        return self._position

    @position.setter
    def position(self, position: int) -> None:
        self.close()
        self._position = position

    def __iter__(self) -> BatchIterator:
        """Returns itself."""
        return self

    def __next__(self) -> Batch:
        """Returns the batch at `position` and moves on by one.

        Raises:
            ValueError: this batch alone has more broken images than are read past, or no image can be read.
        """
        if self._running is None:
            # Sliced at every start: Grain's own iterator state would tie a checkpoint to the number of workers.
            batches = self._batches[self._position :].to_iter_dataset(self._read_options)
            if self._num_workers:
                _mark_flags_parsed()
                options = grain.MultiprocessingOptions(self._num_workers, per_worker_buffer_size=2)
                batches = batches.mp_prefetch(options, worker_init_fn=_start_worker)
            self._running = iter(batches)
        batch, skipped = next(self._running)
        if not batch:
            last = list(skipped.values())[-1]
            raise ValueError(f"{last}; {broken.describe_excess(len(skipped), self.max_skipped)}")
        self._position += 1
        for number, reason in skipped.items():
            if number not in self.skipped:
                broken.say_replaced(reason)
                self.skipped.add(number)
        return batch

    def close(self) -> None:
        """Ends the threads and workers; the next call of `next` starts them again."""
        if self._running is not None:
            self._running.close()
            self._running = None


def _start_worker(index: int, count: int) -> None:
    """Silences the message of TFDS in each worker that it decodes with Pillow."""
    del index, count
    logging.set_verbosity(logging.ERROR)


def _mark_flags_parsed() -> None:
    """Marks absl's flags as parsed where none were (a notebook, a test): Grain sends them to its workers."""
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
