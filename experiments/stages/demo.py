"""The demo stage: a page on this machine that classifies a sound file or the microphone; see inference/server.py."""

import logging
import socket

from data.errors import UserError
from experiments.inference.origin import origin_of
from experiments.inference.server import HOST, make_app, serve
from experiments.models.classifiers import load_model
from experiments.settings.models import Demo
from experiments.settings.shared import Settings
from experiments.stages.whereabouts import model_of

log = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        UserError: there is no such model, or the port cannot be had.
    """
    port, shift = settings.of(Demo).port, settings.of(Demo).shift
    model = model_of(settings)
    app = make_app(load_model(model), origin_of(model), shift)
    try:
        listener = socket.create_server((HOST, port))
    except OSError as error:
        raise UserError(
            f"demo.port={port} cannot be had ({error.strerror}): another demo may still run; "
            "stop it, or choose another port, or 0 for any that is free"
        ) from error
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)  # tracebacks of malformed requests, not of defects
    log.info("model %s", origin_of(model))
    log.info("open http://%s:%d in a browser; Ctrl-C ends it", *listener.getsockname())
    serve(app, listener)
