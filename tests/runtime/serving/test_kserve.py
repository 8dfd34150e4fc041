"""KServe's own client.

The SDK brings FastAPI, Kubernetes' client and pandas 2, so it is in none of our extras:
``python benchmarks/kserve_client.py`` makes an environment with it and runs these tests there.
"""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from serving_client import Served

    from runtime.predictor import Predictor

ROWS = np.array([[7.5, 3], [2, 1.5], [9.99, 4.25]], np.float32)
NAN = float("nan")


@pytest.fixture(scope="module")
def kserve() -> Any:  # noqa: ANN401 - the SDK is not installed where types are checked
    """The SDK, imported without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(
            "kserve", reason="not in our extras: python benchmarks/kserve_client.py runs this"
        )


@pytest.fixture
def ask(kserve: Any) -> Callable[[Callable[[Any], Coroutine[Any, Any, Any]]], Any]:  # noqa: ANN401
    """``ask(call)``: what ``await call(client)`` gives, with a client of version 2."""

    async def run(call: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:  # noqa: ANN401
        client = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2"))
        try:
            return await call(client)
        finally:
            await client.close()

    return lambda call: asyncio.run(run(call))


def _request(kserve: Any, columns: dict[str, np.ndarray], *, binary: bool) -> Any:  # noqa: ANN401
    tensors = []
    for name, values in columns.items():
        kind = "BYTES" if values.dtype == np.object_ else "FP32"
        tensor = kserve.InferInput(name, list(values.shape), kind)
        tensor.set_data_from_numpy(values, binary_data=binary)
        tensors.append(tensor)
    parameters = {"binary_data_output": binary}
    return kserve.InferRequest("m", tensors, request_id="seven", parameters=parameters)


def test_health_and_readiness(server: Served, ask: Callable[..., Any]) -> None:
    """The client finds the server alive, and server and model ready; another model is not."""
    at = f"http://127.0.0.1:{server.port}"
    assert ask(lambda client: client.is_server_live(at)) is True
    assert ask(lambda client: client.is_server_ready(at)) is True
    assert ask(lambda client: client.is_model_ready(at, "simplenet")) is True
    assert ask(lambda client: client.is_model_ready(at, "other")) is False


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
def test_outputs_equal_the_predictors(
    kserve: Any,  # noqa: ANN401
    server: Served,
    ask: Callable[..., Any],
    predictor: Predictor,
    *,
    binary: bool,
) -> None:
    """One tensor or one a column, JSON or binary: the predictor's outputs, bit for bit."""
    at, expected = f"http://127.0.0.1:{server.port}", predictor.run(ROWS)
    for columns in ({"features": ROWS}, {"rating": ROWS[:, 1], "price": ROWS[:, 0]}):
        sent = _request(kserve, columns, binary=binary)
        answer = ask(lambda client, sent=sent: client.infer(at, sent, model_name="simplenet"))
        # The client does not parse model_version.
        assert (answer.model_name, answer.id) == ("simplenet", "seven")
        assert [one.name for one in answer.outputs] == ["label", "probabilities", "logits"]
        for output in answer.outputs:
            dtype = np.int64 if output.name == "label" else np.float32
            values = np.asarray(output.as_numpy(), dtype)
            assert values.tobytes() == getattr(expected, output.name).tobytes(), output.name


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
def test_categories_and_missing_values(
    kserve: Any,  # noqa: ANN401
    start_server: Callable[..., Served],
    sales_bundle: Path,
    ask: Callable[..., Any],
    *,
    binary: bool,
) -> None:
    """Strings as BYTES, missing values as NaN or null: the results of /predict for these rows."""
    served = start_server("--bundle", f"sales={sales_bundle}")
    columns = {
        "colour": np.array(["red", "blå, mørk", ""], np.object_),
        "price": np.array([2.5, 9.75, 5], np.float32),
        "rating": np.array([3.5, NAN, 4.25], np.float32),
        "size": np.array(["S", "M", "L"], np.object_),
    }
    sent = _request(kserve, columns, binary=binary)
    at = f"http://127.0.0.1:{served.port}"
    answer = ask(lambda client: client.infer(at, sent, model_name="sales"))
    (found,) = (one for one in answer.outputs if one.name == "probabilities")
    rows = 'price,colour,rating,size\n2.5,red,3.5,S\n9.75,"blå, mørk",,M\n5,,4.25,L\n'
    table = served.ask("/predict?proba=all", rows.encode()).body.decode().splitlines()
    expected = np.array([line.split(",")[-2:] for line in table[1:]], np.float32)
    assert np.asarray(found.as_numpy(), np.float32).tobytes() == expected.tobytes()


def test_error_message_of_the_server_is_raised(
    kserve: Any,  # noqa: ANN401
    server: Served,
    ask: Callable[..., Any],
) -> None:
    """An invalid request raises the client's own error, with the message of the server."""
    at = f"http://127.0.0.1:{server.port}"
    sent = _request(kserve, {"price": ROWS[:, 0]}, binary=False)
    with pytest.raises(Exception, match="'rating' is missing") as caught:
        ask(lambda client: client.infer(at, sent, model_name="simplenet"))
    assert type(caught.value).__name__ == "HTTPStatusError"
