"""Errors reach the user through the wrappers of engines, with their exit codes."""

from __future__ import annotations

import pickle

import pytest

from runtime import errors
from runtime.errors import ArtifactError, BadRowsError, OnnxferryError, exit_code_of, find_error

# A traceback of a Python worker in an exception of Spark, and in one of the JVM's.
SPARK = """
  An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "/opt/spark/python/lib/pyspark.zip/pyspark/worker.py", line 1247, in main
    process()
  File "/app/runtime/scoring/counters.py", line 135, in raise_for_bad_rows
    raise BadRowsError(self.describe_bad(remedy, hint))
runtime.errors.BadRowsError: the batch: 1 of 3 rows cannot be scored; nothing of it was scored
  record 2, column 'price': '': missing value
fix them, or continue with bad_rows="null"
"""
JVM = f"""An error occurred while calling o54.collectToPython.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 0.0 failed 1
times: org.apache.spark.api.python.PythonException: {SPARK}
\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.handle(PythonRunner.scala:572)
Driver stacktrace:
\tat org.apache.spark.scheduler.DAGScheduler.failJobAndIndependentStages(DAGScheduler.scala:2898)
"""
CONNECT = f"{SPARK} SQLSTATE: 38000\n\nJVM stacktrace:\norg.apache.spark.SparkException"
MESSAGE = SPARK[SPARK.index("the batch: ") :].strip()


class RayTaskError(Exception):
    """Holds the worker's error as Ray's class does."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause
        super().__init__(str(cause))


def all_kinds(kind: type[OnnxferryError] = OnnxferryError) -> list[type[OnnxferryError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in all_kinds(child))]


@pytest.mark.parametrize("kind", all_kinds(), ids=lambda kind: kind.__name__)
def test_every_error_survives_pickling_and_wrapping(kind: type[OnnxferryError]) -> None:
    """Class, message and exit code, by pickle, by a cause and by the text of a traceback."""
    error = kind("a message\nof two lines")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    quoted = RuntimeError(f"failed:\n{kind.__module__}.{kind.__name__}: {error}\n\nmore")
    for wrapped in (copy, RayTaskError(RayTaskError(copy)), quoted):
        found = find_error(wrapped)
        assert type(found) is kind or (kind is OnnxferryError and wrapped is quoted)
        assert found is None or str(found) == str(error)
        assert exit_code_of(wrapped) == kind.exit_code


@pytest.mark.parametrize("text", [SPARK, JVM, CONNECT], ids=["python", "jvm", "connect"])
def test_a_quoted_traceback_gives_the_message_as_it_was_raised(text: str) -> None:
    """Spark pickles no errors."""
    found = find_error(RuntimeError(text))
    assert isinstance(found, BadRowsError)
    assert str(found) == MESSAGE
    assert exit_code_of(RuntimeError(text)) == 3


def test_the_causes_of_an_exception_are_followed() -> None:
    """``raise from``, an exception while another was handled, and neither."""
    damaged, handling, hidden = ArtifactError("damaged"), KeyError("a"), ValueError("b")
    handling.__context__ = damaged
    assert exit_code_of(handling) == 4
    hidden.__context__, hidden.__suppress_context__ = damaged, True
    assert exit_code_of(hidden) == errors.EXIT_BUG
    hidden.__cause__ = handling
    assert exit_code_of(hidden) == 4


def test_other_exceptions_are_bugs_or_interrupts() -> None:
    """An unknown name in a text is none of ours."""
    assert exit_code_of(ValueError("runtime.errors.NoSuchError: x")) == errors.EXIT_BUG
    assert find_error(ValueError("x")) is None
    wrapped = RuntimeError("engine")
    wrapped.__cause__ = KeyboardInterrupt()
    assert exit_code_of(wrapped) == errors.EXIT_INTERRUPTED
