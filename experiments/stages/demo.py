"""stage=demo: a page on this machine that listens: drop a sound or record one, see what the model sees and says.

Conventions: the server is reached from this machine alone, by its own page alone: it is bound to 127.0.0.1, a request
must name this host (a strange name that was made to point here is refused) and come from no other site's page. What
is sent stays in memory until it is answered. GET / is the page, GET /about what it says of the model and the limits,
POST /listen takes a sound file and answers as `listen` does, or with a `message`. One sound is heard at a time.
"""

import asyncio
import base64
import json
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import torch
from aiohttp import web

from data.audio import FORMATS
from data.errors import UserError
from data.front_ends import band_centres
from data.scenes import PART_SECONDS
from experiments.inference.classifier import Recogniser, load_recogniser
from experiments.settings.shared import Settings
from experiments.settings.stages import Demo
from experiments.stages.context import model_of

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")  # of this machine, in requests
PAGE = Path(__file__).parent.parent / "pages" / "demo.html"
LONGEST_SECONDS = 120
LARGEST_BYTES = 48 << 20  # two minutes of stereo at 48 kHz as floats
STOP_SECONDS = 1.0  # that Ctrl-C waits for answers
# The page needs nothing but itself; blob: is what it makes of a recording.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' blob:; "
    "connect-src 'self'; img-src data:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def run(settings: Settings) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        UserError: there is no such model, or the port cannot be had.
    """
    port = settings.of(Demo).port
    app = make_app(load_recogniser(model_of(settings)))
    try:
        listener = socket.create_server((HOST, port))
    except OSError as error:
        raise UserError(
            f"demo.port={port} cannot be had ({error.strerror}): another demo may still run; "
            "stop it, or choose another port, or 0 for any that is free"
        ) from error
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # tracebacks of what strangers send; ours: _guard
    log.info("open http://%s:%d in a browser; Ctrl-C ends it", *listener.getsockname())
    web.run_app(app, sock=listener, print=None, access_log=None, shutdown_timeout=STOP_SECONDS)


def make_app(recogniser: Recogniser) -> web.Application:
    """The server of a model."""
    app, turn = web.Application(client_max_size=LARGEST_BYTES, middlewares=[_guard]), asyncio.Lock()

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE.read_text(encoding="utf-8"), content_type="text/html")

    async def about(_: web.Request) -> web.Response:
        limits = {"bytes": LARGEST_BYTES, "seconds": LONGEST_SECONDS, "formats": list(FORMATS)}
        return web.json_response({"scenes": recogniser.scenes, "clip_seconds": PART_SECONDS, "limits": limits})

    async def hear(request: web.Request) -> web.Response:
        if (request.content_length or 0) > LARGEST_BYTES:
            raise web.HTTPRequestEntityTooLarge(LARGEST_BYTES)
        sound = await request.read()
        async with turn:
            answer = await asyncio.to_thread(lambda: json.dumps(listen(recogniser, sound)))
        return web.json_response(text=answer)

    app.add_routes([web.get("/", page), web.get("/about", about), web.post("/listen", hear)])
    return app


def listen(recogniser: Recogniser, sound: bytes) -> dict[str, Any]:
    """What a model sees and says of a sound file's content.

    Returns:
        `probabilities`: (clips, classes); `picture`: its `frames`, over all clips, its `bands`, the frequency of each
        in `hz`, and `cells`, (bands, frames) bytes from its lowest to its highest value, as base64.

    Raises:
        UserError: it is no sound that is accepted.
    """
    waves = torch.cat(list(recogniser.pieces(sound, longest=LONGEST_SECONDS)))
    pictures = recogniser.pictures(waves)
    whole = pictures[:, 0].transpose(0, 1).flatten(1)
    low, high = whole.min(), whole.max()
    cells = ((whole - low) / (high - low).clamp_min(1e-6) * 255).round().byte()
    picture = {
        "bands": whole.shape[0],
        "frames": whole.shape[1],
        "hz": band_centres(recogniser.front_end).round(1).tolist(),
        "cells": base64.b64encode(cells.numpy().tobytes()).decode(),
    }
    return {"probabilities": recogniser.probabilities(pictures).round(6).tolist(), "picture": picture}


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn strangers away, and mistakes into messages."""
    host = request.headers.get("Host", "")
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
        except (web.RequestPayloadError, ConnectionResetError):
            response = _refusal(400, "the request is damaged, or was broken off")
        except Exception:
            log.exception("a defect, please report it")
            response = _refusal(500, "the program has a defect: it says more where it was started")
    response.headers.update(HEADERS)
    return response


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)
