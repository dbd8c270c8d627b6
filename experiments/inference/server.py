"""A page on this machine that classifies a sound, dropped or recorded, second by second.

Conventions: the server is reached from this machine alone, by its own page alone: it is bound to 127.0.0.1, a request
must name this host (another name that resolves to this address is refused) and come from no other site's page. What is
sent stays in memory until it is answered. GET / is the page, GET /about the model, its scenes, the probability that an
answer needs to be sure, the smoothing, the limits and the examples, GET /example/NAME one of their sounds, POST
/classify takes a sound file and answers as `classify_sound` does, or with a `message`. Sounds are classified one at a
time; AT_ONCE of them may be sent or wait, and what comes on top is refused, so that memory has a bound. A sound whose
sender is gone is not classified, or not to its end.
"""

import asyncio
import base64
import contextlib
import json
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import torch
from aiohttp import web

from data.errors import UserError
from data.front_ends import band_centres
from data.sound_files import FORMATS
from experiments.inference.clip_classifier import Classifier
from experiments.inference.examples import TITLES, example
from experiments.inference.origin import Origin
from students.quantize.answer import ONE, smoothed

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")  # of this machine, in requests
PAGE = Path(__file__).parent.parent / "pages" / "demo.html"
LONGEST_SECONDS = 120
LARGEST_BYTES = 48 << 20  # two minutes of stereo at 48 kHz as floats
AT_ONCE = 4  # sounds that are being sent, wait or are classified
UPLOAD_SECONDS = 30.0  # that a sound may take to arrive
IDLE_SECONDS = 10.0  # that a connection may wait, or take, to send the head of a request
STOP_SECONDS = 0.1  # that stopping waits for answers, and then for what it cancels
CLIPS = 8  # that are classified between two looks at whether anybody still waits
# The page needs nothing but itself; blob: is what it makes of a recording.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' blob:; "
    "connect-src 'self'; img-src data:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

log = logging.getLogger(__name__)


class StoppedError(Exception):
    """Nobody waits for the answer."""


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(classifier: Classifier, origin: Origin, shift: int = 0) -> web.Application:
    """The server of a classifier, with a moving average over the seconds of a sound: see `smoothed`."""
    app, turn = web.Application(client_max_size=LARGEST_BYTES, middlewares=[_guard]), asyncio.Lock()
    places, stops = asyncio.Semaphore(AT_ONCE), set[Event]()

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE.read_text(encoding="utf-8"), content_type="text/html")

    async def about(_: web.Request) -> web.Response:
        limits = {"bytes": LARGEST_BYTES, "seconds": LONGEST_SECONDS, "formats": list(FORMATS)}
        known = {"scenes": classifier.scenes, "clip_seconds": classifier.clip_seconds, "limits": limits}
        known |= {"model": origin._asdict(), "examples": [{"name": name, "title": TITLES[name]} for name in TITLES]}
        return web.json_response({**known, "threshold": classifier.least_sure / ONE, "smoothing": 1 << shift})

    async def give_example(request: web.Request) -> web.Response:
        if (name := request.match_info["name"]) not in TITLES:
            raise web.HTTPNotFound(reason=f"there is no such example: take one of {', '.join(TITLES)}")
        return web.Response(body=await asyncio.to_thread(example, name), content_type="audio/wav")

    async def classify(request: web.Request) -> web.Response:
        if places.locked():
            raise web.HTTPServiceUnavailable(reason=f"{AT_ONCE} sounds are being classified: try again in a moment")
        if (request.content_length or 0) > LARGEST_BYTES:
            raise web.HTTPRequestEntityTooLarge(LARGEST_BYTES)
        async with places:
            try:
                async with asyncio.timeout(UPLOAD_SECONDS):
                    await _invite(request)
                    sound = await request.read()
            except TimeoutError:
                raise web.HTTPRequestTimeout(
                    reason=f"the sound did not arrive within {UPLOAD_SECONDS:g} s: send it again"
                ) from None
            async with turn:
                return web.json_response(text=await answer(sound))

    async def answer(sound: bytes) -> str:
        """Of the computation in a thread, which ends when the request is cancelled, before the next one begins."""
        stops.add(stop := Event())
        work = asyncio.ensure_future(
            asyncio.to_thread(lambda: json.dumps(classify_sound(classifier, sound, stop, shift)))
        )
        try:
            return await asyncio.shield(work)
        finally:
            stop.set()
            await asyncio.wait([work])
            stops.discard(stop)
            work.exception()  # nobody else asks for it when the request was cancelled

    async def end_computations(_: web.Application) -> None:
        for stop in stops:
            stop.set()

    app.on_shutdown.append(end_computations)
    app.add_routes([web.get("/", page), web.get("/about", about), web.get("/example/{name}", give_example)])
    app.router.add_post("/classify", classify, expect_handler=_uninvited)
    return app


def make_runner(app: web.Application) -> web.AppRunner:
    """What answers the requests: connections that send no request are closed, and the work for those that end."""
    return web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=IDLE_SECONDS,
        shutdown_timeout=STOP_SECONDS,
        handler_cancellation=True,
    )


def serve(app: web.Application, listener: socket.socket) -> None:
    """Answer requests until Ctrl-C."""

    async def answering() -> None:
        runner = make_runner(app)
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(answering())


def classify_sound(classifier: Classifier, sound: bytes, stop: Event, shift: int = 0) -> dict[str, Any]:
    """The calibrated probabilities of a sound file's content, and its spectrogram as the page draws it.

    Args:
        classifier: see load_classifier.
        sound: content of the file.
        stop: is looked at again and again; when it is set, the answer is of no use to anybody.
        shift: of the moving average, see `smoothed`; 0: none.

    Returns:
        `probabilities`: (clips, classes); `smoothed`: their moving average, (clips, classes); `spectrogram`: its
        `frames`, over all clips, its `bands`, the frequency of each in `hz`, and `cells`, (bands, frames) bytes from
        its lowest to its highest value, as base64.

    Raises:
        UserError: it is no sound that is accepted.
        StoppedError: `stop` was set.
    """
    spectrograms, found = list[torch.Tensor](), list[np.ndarray]()
    for waves in classifier.waves(sound, longest=LONGEST_SECONDS):
        for some in waves.split(CLIPS):
            if stop.is_set():
                raise StoppedError
            spectrograms.append(classifier.spectrograms(some))
            found.append(classifier.answers(spectrograms[-1]).calibrated)
    whole = torch.cat(spectrograms)[:, 0].transpose(0, 1).flatten(1)
    low, high = whole.min(), whole.max()
    cells = ((whole - low) / (high - low).clamp_min(1e-6) * 255).round().byte()
    spectrogram = {
        "bands": whole.shape[0],
        "frames": whole.shape[1],
        "hz": band_centres(classifier.front_end).round(1).tolist(),
        "cells": base64.b64encode(cells.numpy().tobytes()).decode(),
    }
    probabilities = np.concatenate(found)
    return {
        "probabilities": (probabilities / ONE).tolist(),
        "smoothed": (smoothed(probabilities, shift) / ONE).tolist(),
        "spectrogram": spectrogram,
    }


async def _uninvited(_: web.Request) -> None:
    """Leave a sender waiting who asks whether to send: aiohttp would say yes before anything is checked."""


async def _invite(request: web.Request) -> None:
    """Say yes to a sender who asks whether to send."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # of the answer, which is still to come


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests that are not of the page, and answer mistakes with messages."""
    host = request.headers.get("Host", "")
    response: web.StreamResponse
    if host.rsplit(":", 1)[0] not in NAMES:
        response = _refusal(403, f"this page is called http://{HOST}, not {host}")
    elif request.headers.get("Origin", f"http://{host}") != f"http://{host}":
        response = _refusal(403, "another site's page may not ask")
    else:
        try:
            response = await handler(request)
        except UserError as error:
            response = _refusal(400, str(error))
        except web.HTTPRequestEntityTooLarge:
            response = _refusal(413, f"the sound has more than {LARGEST_BYTES >> 20} MiB: cut it, or compress it")
        except web.HTTPException as error:
            response = _refusal(error.status, error.reason)
        except StoppedError:
            response = _refusal(503, "the page was closed where it was started")
        except (web.RequestPayloadError, ConnectionResetError):
            response = _refusal(400, "the request is damaged, or was broken off")
        except Exception:
            log.exception("a defect, please report it")
            response = _refusal(500, "the program has a defect: it says more where it was started")
    response.headers.update(HEADERS)
    return response


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)
