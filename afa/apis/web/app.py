"""What the page asks for: upload, labels, maps and pictures of a photo. All errors are sentences.

Files arrive as the body of a request and stay in memory. The model serves one request at a time;
what waits is counted, so that memory is bounded.
"""

from __future__ import annotations

import asyncio
import base64
import math
import re
import unicodedata
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from torch import nn

from afa.apis.photo_maps import MAX_CLASSES, map_photo
from afa.apis.web.kept import KeptPhoto, KeptPhotos
from afa.apis.web.server import LOOPBACK, WebOptions
from afa.files.label_png import encode_label_png
from afa.files.photo import decode_photo, encode_picture
from afa.models.functional import SEG
from afa.models.segmentors.base import label_kinds
from afa.utils.cli import machine_sentence
from afa.visualization import draw_cam, draw_segments, label_areas, mark_points
from afa.visualization.pictures import (
    fit_photo,
    label_layer,
    map_layer,
    segment_names,
)

PAGE = {"": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
FOLDER = Path(__file__).parent
THUMB_SIDE = 160
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
BUSY = "Too many requests are waiting for the model: try again in a few seconds."
GONE = "This photo is no longer kept: add it again."
Query = Mapping[str, str]


def make_app(model: nn.Module, title: str, options: WebOptions) -> ASGIApp:
    """Make the application that :func:`afa.apis.web.serve` serves.

    Raises:
        ValueError: if the model makes no label maps.
    """
    if not label_kinds(model):
        raise ValueError(
            f"{type(model).__name__} makes no label maps to show: take a model that segments, or "
            "that has CAMs."
        )
    pages = _Pages(model, title, options)
    photo = "/api/photos/{key}"
    routes = [
        *(Route(f"/{name}", pages.file, name=name or "page.html") for name in PAGE),
        Route("/api/model", pages.about),
        Route("/api/photos", pages.upload, methods=["POST"]),
        Route(photo, pages.forget, methods=["DELETE"]),
        Route(f"{photo}/photo.jpg", pages.photo),
        Route(f"{photo}/labels", pages.labels),
        Route(f"{photo}/label.png", pages.label_file),
        Route(f"{photo}/map.png", pages.map),
        Route(f"{photo}/overlay.jpg", pages.overlay_file),
    ]
    handlers: Any = {HTTPException: _say, Exception: _say_nothing}
    app = Starlette(routes=routes, exception_handlers=handlers)
    return _Guard(app, LOOPBACK if options.is_local else None)


class _Guard:
    """Add the headers of safety, and refuse other sites that point their name to this machine."""

    def __init__(self, app: ASGIApp, names: tuple[str, ...] | None) -> None:
        self.app = app
        self.names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                known = {name for name, _ in message["headers"]}
                added = {name.lower().encode(): value.encode() for name, value in HEADERS.items()}
                message["headers"] += [pair for pair in added.items() if pair[0] not in known]
            await send(message)

        host = re.sub(r":\d*$", "", Request(scope).headers.get("host", "").lower()).strip("[]")
        if self.names and host not in self.names:
            said = (
                "This page answers to the names 127.0.0.1 and localhost only: open it under one of "
                "them, or start it with another --host."
            )
            return await _error(421, said)(scope, receive, guarded)
        return await self.app(scope, receive, guarded)


def _error(status: int, sentence: str, **headers: str) -> JSONResponse:
    return JSONResponse({"error": sentence}, status, headers)


async def _say(request: Request, error: HTTPException) -> Response:
    sentence = error.detail if isinstance(error, _Refusal) else "There is no such page."
    return _error(error.status_code, sentence, **dict(error.headers or {}))


async def _say_nothing(request: Request, error: Exception) -> Response:
    """Answer to a bug; uvicorn writes it to the log."""
    return _error(500, "Something went wrong in the server; its log says what.")


class _Refusal(HTTPException):
    """A status and the sentence that the page shows."""


class _Pages:
    """Answer the requests of the page."""

    def __init__(self, model: nn.Module, title: str, options: WebOptions) -> None:
        self.model = model
        self.options = options
        self.kept = KeptPhotos(options.keep)
        self.classes: tuple[str, ...] = model.dataset_meta["classes"]
        self.palette: list[list[int]] = model.dataset_meta["palette"]
        self.kinds = label_kinds(model)[::-1]
        self.max_bytes = int(options.max_mb * 1e6)
        self.files = {name: (FOLDER / (name or "page.html")).read_bytes() for name in PAGE}
        self.lock = asyncio.Lock()
        self.num_waiting = 0
        tests, trains = getattr(model, "test_cfg", None), getattr(model, "train_cfg", None)
        walks = getattr(model, "has_walk", False)
        self.facts = dict(
            title=title,
            kinds=self.kinds,
            classes=self.classes,
            palette=self.palette,
            cams=hasattr(model, "map_maker"),
            max_cams=MAX_CLASSES,
            affinity=getattr(trains, "propagation", "affinity") if walks else None,
            radius=getattr(trains, "radius", None) if walks else None,
            bkg_thr=getattr(tests, "bkg_thr", 0.45),
            cls_thr=getattr(tests, "cls_thr", 0.5),
            max_bytes=self.max_bytes,
            max_megapixels=options.max_megapixels,
            keep=options.keep,
        )

    # ---- the model, one request at a time -------------------------------------------------------

    @asynccontextmanager
    async def _place(self, request: Request) -> AsyncIterator[None]:
        """Take a place among those who wait, if there is one."""
        if self.num_waiting > self.options.max_waiting:
            await self._body(request, keep=False)  # or the browser would not hear the answer
            raise _Refusal(503, BUSY, {"Retry-After": "2"})
        self.num_waiting += 1
        try:
            yield
        finally:
            self.num_waiting -= 1

    async def _run(self, call: Callable[..., Any], *args: Any) -> Any:
        """Run something in a thread, when nothing else runs."""
        async with self.lock:
            try:
                return await run_in_threadpool(call, *args)
            except (MemoryError, RuntimeError) as error:
                if machine_sentence(error) is None:
                    raise
                said = "This photo needs more memory than the server has: scale it down."
                raise _Refusal(413, said) from error

    async def _body(self, request: Request, keep: bool = True) -> bytes:
        """Read a file; what is too much is read, too, and dropped."""
        data, size = bytearray(), 0

        async def read() -> None:
            nonlocal size
            async for chunk in request.stream():
                size += len(chunk)
                if keep and size <= self.max_bytes:
                    data.extend(chunk)
                elif size > 4 * self.max_bytes:
                    break

        try:
            await asyncio.wait_for(read(), self.options.upload_seconds)
        except asyncio.TimeoutError as error:
            raise _Refusal(408, "The file took too long to arrive: try again.") from error
        except ClientDisconnect as error:
            raise _Refusal(400, "The file did not arrive whole: try again.") from error
        if keep and size > self.max_bytes:
            most = f"{self.options.max_mb:g} MB"
            raise _Refusal(413, f"The file has more than the {most} that are taken: scale it down.")
        return bytes(data)

    # ---- the page -------------------------------------------------------------------------------

    async def file(self, request: Request) -> Response:
        """Give the page, its style or its script."""
        name = request.url.path.rpartition("/")[2]
        return Response(self.files[name], media_type=PAGE[name])

    async def about(self, request: Request) -> Response:
        """Say what the model makes, its classes, and the limits."""
        return JSONResponse(self.facts)

    # ---- photos ---------------------------------------------------------------------------------

    async def upload(self, request: Request) -> Response:
        """Take the file of a photo, run the model, and say what was found."""
        if request.headers.get("content-type") != "application/octet-stream":
            # Another site's page cannot send this type without asking, and is not allowed to.
            raise _Refusal(415, "A photo is sent as application/octet-stream.")
        async with self._place(request):
            data = await self._body(request)
            if await request.is_disconnected():
                return Response(status_code=400)
            name = clean_file_name(request.query_params.get("name", ""))
            photo = await self._run(self._compute, data, name)
        maps = photo.maps
        scores = [] if maps.scores is None else maps.scores.tolist()
        found = dict(
            id=self.kept.add(photo),
            name=name,
            width=maps.size[1],
            height=maps.size[0],
            scores=[[cls, scores[cls]] for cls in maps.classes],
            thumb=_thumb(photo.photo),
        )
        return JSONResponse(found)

    def _compute(self, data: bytes, name: str) -> KeptPhoto:
        try:
            image = decode_photo(data, name, max_pixels=int(self.options.max_megapixels * 1e6))
        except ValueError as error:
            raise _Refusal(422, str(error)) from error
        try:
            maps = map_photo(self.model, image)
        except cv2.error as error:
            size = f"{image.shape[1]} x {image.shape[0]} pixels"
            said = f"Photo '{name}' of {size} does not pass the model's test pipeline: resize it."
            raise _Refusal(422, said) from error
        return KeptPhoto(name, np.ascontiguousarray(fit_photo(image)[..., ::-1]), maps)

    def _find(self, request: Request) -> KeptPhoto:
        photo = self.kept.find(request.path_params["key"])
        if photo is None:
            raise _Refusal(404, GONE)
        return photo

    async def forget(self, request: Request) -> Response:
        """Keep a photo no longer."""
        self.kept.forget(request.path_params["key"])
        return Response(status_code=204)

    async def photo(self, request: Request) -> Response:
        """Give the photo, upright and at the size at which it is shown."""
        data = await run_in_threadpool(encode_picture, self._find(request).photo, ".jpg")
        return Response(data, media_type="image/jpeg")

    async def _answer(self, request: Request, make: Callable[[KeptPhoto, Query], Any]) -> Any:
        """Make something of a kept photo."""
        photo = self._find(request)
        async with self._place(request):
            return await self._run(make, photo, request.query_params)

    async def labels(self, request: Request) -> Response:
        """Give a label map to be laid over the photo, with names and legend."""
        return JSONResponse(await self._answer(request, self._labels))

    async def label_file(self, request: Request) -> Response:
        """Give a label map at the size of the photo, as tools/predict.py writes it."""
        data, name = await self._answer(request, self._label_file)
        return _download(data, "image/png", name)

    async def map(self, request: Request) -> Response:
        """Give a CAM or an affinity to be laid over the photo."""
        data = await self._answer(
            request, lambda photo, query: encode_picture(map_layer(self._map(photo, query)[0]))
        )
        return Response(data, media_type="image/png")

    async def overlay_file(self, request: Request) -> Response:
        """Give the photo with labels or a map, names and legend, as one picture."""
        data, name = await self._answer(request, self._overlay_file)
        return _download(data, "image/jpeg", name)

    def _label(
        self, photo: KeptPhoto, query: Query, size: tuple[int, int] | None = None
    ) -> np.ndarray:
        kind = query.get("kind", SEG)
        if kind not in self.kinds:
            raise _Refusal(400, f"kind must be one of {', '.join(self.kinds)}.")
        return photo.maps.label(kind, _share(query, "bkg_thr"), _share(query, "cls_thr"), size)

    def _labels(self, photo: KeptPhoto, query: Query) -> dict[str, Any]:
        height, width = photo.photo.shape[:2]
        label = self._label(photo, query, (height, width))
        layer = base64.b64encode(encode_picture(label_layer(label, self.palette))).decode()
        areas = label_areas(label) / label.size
        names = [
            dict(text=text, x=x / width, y=y / height)
            for text, (y, x) in segment_names(label, self.classes)[:30]
        ]
        legend = [
            dict(text=self.classes[i], color=self.palette[i] if i else None, share=areas[i])
            for i in np.argsort(-areas, kind="stable").tolist()
            if areas[i] > 0
        ]
        return dict(layer=f"data:image/png;base64,{layer}", names=names, legend=legend)

    def _label_file(self, photo: KeptPhoto, query: Query) -> tuple[bytes, str]:
        label = self._label(photo, query)
        name = f"{Path(photo.name).stem}_{query.get('kind', SEG)}.png"
        return encode_label_png(label, self.palette), name

    def _map(self, photo: KeptPhoto, query: Query) -> tuple[np.ndarray, str]:
        """Give a map in 0..1 and its title."""
        try:
            if "cls" in query:
                cls = int(query["cls"]) if query["cls"].isdecimal() else -1
                values, scores = photo.maps.cam(cls), photo.maps.scores
                assert scores is not None, "a model with CAMs classifies"
                return values, f"CAM of {self.classes[cls + 1]}, score {float(scores[cls]):.2f}"
            return photo.maps.affinity(
                _share(query, "y"), _share(query, "x")
            ), "affinity to the marked point"
        except ValueError as error:
            raise _Refusal(400, str(error)) from error

    def _overlay_file(self, photo: KeptPhoto, query: Query) -> tuple[bytes, str]:
        shown, stem = photo.photo, Path(photo.name).stem
        if "kind" in query:
            label = self._label(photo, query, (shown.shape[0], shown.shape[1]))
            alpha = _share(query, "opacity")
            picture = draw_segments(shown, label, self.classes, self.palette, alpha)
            return encode_picture(picture, ".jpg"), f"{stem}_{query['kind']}_overlay.jpg"
        values, title = self._map(photo, query)
        if "cls" not in query:
            (y, x), (height, width) = (_share(query, name) for name in "yx"), shown.shape[:2]
            point = (min(int(y * height), height - 1), min(int(x * width), width - 1))
            shown = mark_points(shown, [point], [])
        picture = draw_cam(shown, values, title)
        return encode_picture(picture, ".jpg"), f"{stem}_{title.partition(',')[0]}.jpg"


def _share(query: Query, name: str) -> float:
    """Read a number in 0..1."""
    try:
        value = float(query.get(name, "0.5"))
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise _Refusal(400, f"{name} must be a number between 0 and 1.")
    return value


def _thumb(photo: np.ndarray) -> str:
    ratio = THUMB_SIDE / max(photo.shape[:2])
    size = [max(1, round(side * ratio)) for side in photo.shape[1::-1]]
    small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    return f"data:image/jpeg;base64,{base64.b64encode(encode_picture(small, '.jpg')).decode()}"


def clean_file_name(name: str) -> str:
    """Reduce the name of an upload to the last part of its path, without signs that hide."""
    last = name.replace("\\", "/").rpartition("/")[2]
    seen = "".join(char for char in last if unicodedata.category(char)[0] != "C")
    return seen.strip()[-100:] or "photo"


def _download(data: bytes, media_type: str, name: str) -> Response:
    place = f"attachment; filename*=UTF-8''{quote(name.replace('/', ' '), safe='')}"
    return Response(data, media_type=media_type, headers={"Content-Disposition": place})
