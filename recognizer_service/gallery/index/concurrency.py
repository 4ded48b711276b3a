"""Concurrent searches and changes: a lock for readers and writers, and combined requests."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class ReadersWriterLock:
    """Many readers or one writer; waiting writers go before new readers. Not reentrant."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._waiting_writers = 0
        self._writing = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the lock, shared with other readers."""
        with self._changed:
            self._changed.wait_for(lambda: not self._writing and not self._waiting_writers)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def writing_if_free(self) -> Iterator[bool]:
        """Hold the lock exclusively if it is free and nobody waits; yields whether it is held."""
        with self._changed:
            free = not (self._writing or self._readers or self._waiting_writers)
            if free:
                self._writing = True
        try:
            yield free
        finally:
            if free:
                with self._changed:
                    self._writing = False
                    self._changed.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock exclusively."""
        with self._changed:
            self._waiting_writers += 1
            self._changed.wait_for(lambda: not self._writing and not self._readers)
            self._waiting_writers -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._changed:
                self._writing = False
                self._changed.notify_all()


class Combining(Generic[Question, Answer]):
    """Combines concurrent questions into one pass at a time."""

    def __init__(self, answer: Callable[[Sequence[Question]], Sequence[Answer]]) -> None:
        """Create it with a function that answers a sequence of questions in order."""
        self._answer = answer
        self._answering = threading.Lock()
        self._waiting: deque[tuple[Question, Future[Answer]]] = deque()

    def ask(self, question: Question) -> Answer:
        """Return the answer; an error of `answer` is raised to all callers of the pass."""
        future: Future[Answer] = Future()
        self._waiting.append((question, future))
        with self._answering:
            if not future.done():  # else the previous lock holder has answered this one too
                self._answer_waiting()
        return future.result()

    def __len__(self) -> int:
        """Return the number of waiting questions."""
        return len(self._waiting)

    def _answer_waiting(self) -> None:
        asked = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            answers = self._answer([question for question, _ in asked])
        except BaseException as error:  # noqa: BLE001 - raised to all callers
            for _, future in asked:
                future.set_exception(error)
            return
        for (_, future), answer in zip(asked, answers, strict=True):
            future.set_result(answer)
