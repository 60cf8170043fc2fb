import asyncio
import base64
import io
import os
import re
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2 as httpx
import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient
from toy_predict import CLASSES, PALETTE, write_checkpoint, write_config
from toy_web import TYPE, hostile_files, jpeg, serving

from afa.apis import inference_model, init_model
from afa.apis.web import WebOptions, open_socket, server
from afa.apis.web import app as module
from afa.apis.web.app import clean_file_name, make_app
from afa.apis.web.kept import KeptPhotos
from afa.files.photo import decode_photo
from afa.visualization import draw_segments

HERE = "http://127.0.0.1:8000"
LABELS = dict(kind="par", bkg_thr=0.4, cls_thr=0.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    return init_model(write_config(folder), write_checkpoint(folder), "cpu")


def open_page(model, **options):
    app = make_app(model, "toy.pth", WebOptions(**options))
    return TestClient(app, HERE, raise_server_exceptions=False)


@pytest.fixture
def page(model):
    with open_page(model, max_mb=2, max_megapixels=1, keep=3) as client:
        yield client


def send(page, data=None, name="cat.jpg", **headers):
    data = jpeg() if data is None else data
    return page.post("/api/photos", params=dict(name=name), content=data, headers=TYPE | headers)


@pytest.fixture
def photo(page):
    return f"/api/photos/{send(page).json()['id']}"


def picture(data):
    return np.asarray(Image.open(io.BytesIO(data)))


# ---- what is shown ------------------------------------------------------------------------------


def test_the_page_needs_nothing_from_elsewhere(page):
    texts = [page.get(f"/{name}").text for name in ("", "page.css", "page.js")]
    assert texts[0].startswith("<!doctype html>") and 'lang="en"' in texts[0]
    assert not any(re.search(r"https?:|//\w+\.\w", text) for text in texts)
    assert not re.search(r"<script>|style=|\son\w+=", texts[0])  # the policy forbids these


def test_the_model_is_described(page, model):
    facts = page.get("/api/model").json()
    assert facts["title"] == "toy.pth" and facts["classes"] == list(CLASSES)
    assert facts["kinds"] == ["seg", "propagated", "par", "cam"]
    assert facts["affinity"] == "affinity" and facts["radius"] == 2
    assert facts["bkg_thr"] == model.test_cfg.bkg_thr and facts["keep"] == 3


def test_an_upload_is_classified(page, model):
    found = send(page, name="trip/Ä<b>.jpg").json()
    assert (found["name"], found["width"], found["height"]) == ("Ä<b>.jpg", 80, 60)
    result = inference_model(model, decode_photo(jpeg(), "p"))
    scores = dict(found["scores"])
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    np.testing.assert_allclose([scores[i] for i in range(3)], result.pred_label, rtol=1e-5)
    thumb = picture(base64.b64decode(found["thumb"].partition(",")[2]))
    assert thumb.shape == (120, 160, 3)


def test_the_photo_comes_back_upright_and_readable(page, photo):
    shown = picture(page.get(f"{photo}/photo.jpg").content)
    assert shown.shape == (360, 480, 3)
    small = np.asarray(Image.fromarray(shown).resize((80, 60), Image.Resampling.BOX), float)
    assert np.abs(small - decode_photo(jpeg(), "p")[..., ::-1]).mean() < 8
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(io.BytesIO(jpeg())).save(turned, "JPEG", exif=exif)
    found = send(page, turned.getvalue()).json()
    assert (found["width"], found["height"]) == (60, 80)


def test_the_label_map_is_that_of_a_prediction(page, photo, model):
    answer = page.get(f"{photo}/label.png", params=LABELS)
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''cat_par.png"
    image = Image.open(io.BytesIO(answer.content))
    assert image.mode == "P" and image.getpalette()[:12] == np.ravel(PALETTE).tolist()
    result = inference_model(model, decode_photo(jpeg(), "p"), kind="seg")
    seg = page.get(f"{photo}/label.png", params=dict(kind="seg"))
    np.testing.assert_array_equal(picture(seg.content), result.pred_sem_seg.data[0].numpy())


def test_the_layer_has_colours_names_and_a_legend(page, photo):
    found = page.get(f"{photo}/labels", params=LABELS).json()
    layer = picture(base64.b64decode(found["layer"].partition(",")[2]))
    label = picture(page.get(f"{photo}/label.png", params=LABELS).content)
    assert layer.shape == (360, 480, 4)
    shares = {entry["text"]: entry["share"] for entry in found["legend"]}
    for value in np.unique(label):
        assert shares[CLASSES[value]] == pytest.approx((label == value).mean(), abs=0.03)
    for entry in found["legend"]:
        assert entry["color"] == (PALETTE[CLASSES.index(entry["text"])] if entry["color"] else None)
    assert sum(shares.values()) == pytest.approx(1)
    for name in found["names"]:
        y, x = int(name["y"] * 360), int(name["x"] * 480)
        assert layer[y, x].tolist() == [*PALETTE[CLASSES.index(name["text"])], 255]


def test_maps_are_layers(page, photo):
    cam = picture(page.get(f"{photo}/map.png", params=dict(cls=1)).content)
    assert cam.shape == (36, 48, 4) and cam[..., 3].min() == 0 and cam[..., 3].max() > 250
    near = picture(page.get(f"{photo}/map.png", params=dict(y=0.1, x=0.1)).content)
    far = picture(page.get(f"{photo}/map.png", params=dict(y=0.9, x=0.9)).content)
    assert near.shape == far.shape and (near != far).any()


def test_pictures_to_download(page, photo):
    answer = page.get(f"{photo}/overlay.jpg", params=LABELS | dict(opacity=0.3))
    drawn = picture(answer.content).astype(float)
    shown = picture(page.get(f"{photo}/photo.jpg").content)
    label = page.get(f"{photo}/label.png", params=LABELS).content
    large = np.kron(picture(label), np.ones((6, 6), int))
    expected = draw_segments(shown, large, CLASSES, PALETTE, 0.3)
    assert abs(drawn.shape[0] - expected.shape[0]) < 40 and drawn.shape[1] == expected.shape[1]
    rows = min(360, len(drawn))
    assert np.abs(drawn[:rows] - expected[:rows]).mean() < 12
    assert answer.headers["content-disposition"].endswith("cat_par_overlay.jpg")
    for query in (dict(cls=2), dict(y=0.5, x=0.5)):
        answer = page.get(f"{photo}/overlay.jpg", params=query)
        assert picture(answer.content).shape[1] >= 480
    assert "/" not in answer.headers["content-disposition"].partition("''")[2]


@pytest.mark.parametrize(
    ("what", "query", "text"),
    [
        ("labels", dict(kind="mask"), "kind must be one of seg, propagated, par, cam"),
        ("labels", dict(kind="par", bkg_thr="nan"), "bkg_thr must be a number between 0 and 1"),
        ("labels", dict(kind="par", cls_thr="-0.1"), "cls_thr must be a number between"),
        ("map.png", dict(cls="3"), "has no CAM"),
        ("map.png", dict(cls="²"), "has no CAM"),
        ("map.png", dict(x="2", y="0"), "x must be a number"),
        ("overlay.jpg", dict(kind="cam", opacity="dark"), "opacity must be a number"),
    ],
)
def test_wrong_questions(page, photo, what, query, text):
    answer = page.get(f"{photo}/{what}", params=query)
    assert answer.status_code == 400 and text in answer.json()["error"]


# ---- limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", hostile_files())
def test_wrong_files_are_one_sentence(page, name):
    data, text = hostile_files()[name]
    answer = send(page, data, f"../../etc/{name}")
    said = answer.json()["error"]
    assert answer.status_code == 422 and text in said and f"Photo '{name}'" in said
    assert "\n" not in said and "etc" not in said and said.endswith(".")
    assert send(page).status_code == 200  # and the page goes on


def test_large_files(page):
    for size in (2_000_001, 30_000_000):
        answer = send(page, bytes(size))
        assert answer.status_code == 413 and "more than the 2 MB that are taken" in answer.text
    assert send(page, bytes(2_000_000)).status_code == 422


def test_the_oldest_photos_go_first(page):
    keys = [send(page, jpeg(seed)).json()["id"] for seed in range(3)]
    assert page.get(f"/api/photos/{keys[0]}/photo.jpg").status_code == 200  # and is young again
    send(page)
    statuses = [page.get(f"/api/photos/{key}/photo.jpg").status_code for key in keys]
    assert statuses == [200, 404, 200]
    answer = page.get(f"/api/photos/{keys[1]}/labels")
    assert answer.json()["error"] == "This photo is no longer kept: add it again."
    assert page.delete(f"/api/photos/{keys[0]}").status_code == 204
    assert page.get(f"/api/photos/{keys[0]}/labels").status_code == 404


def test_memory_of_kept_photos_is_bounded():
    class Photo:
        num_bytes = 40

    kept = KeptPhotos(10, max_bytes=100)
    keys = [kept.add(Photo()) for _ in range(5)]
    assert len(kept) == 2 and kept.num_bytes == 80 and kept.find(keys[3])
    Photo.num_bytes = 500
    last = kept.add(Photo())
    assert len(kept) == 1 and kept.find(last)  # however large
    assert len(last) > 20 and last not in keys


def test_who_waits_too_long_is_told(model, monkeypatch):
    free, started = threading.Event(), threading.Event()
    run = module.map_photo

    def slow(*args):
        started.set()
        free.wait(20)
        return run(*args)

    monkeypatch.setattr(module, "map_photo", slow)
    with open_page(model, max_waiting=2) as page, ThreadPoolExecutor(8) as pool:
        first = pool.submit(send, page)
        assert started.wait(20)
        others = [pool.submit(send, page) for _ in range(6)]
        while sum(other.done() for other in others) < 4:
            pass
        free.set()
        statuses = sorted(other.result().status_code for other in [first, *others])
        assert statuses == [200] * 3 + [503] * 4
        refused = next(other.result() for other in others if other.result().status_code == 503)
        assert "try again in a few seconds" in refused.json()["error"]
        assert refused.headers["retry-after"] == "2"
        assert send(page).status_code == 200


def test_a_file_that_does_not_come_is_not_waited_for(model):
    app = make_app(model, "toy.pth", WebOptions(upload_seconds=0.05))
    sent = []

    async def receive():
        await asyncio.sleep(9)

    async def answer(message):
        sent.append(message)

    head = [(b"host", b"localhost"), (b"content-type", b"application/octet-stream")]
    scope = dict(type="http", method="POST", path="/api/photos", headers=head, query_string=b"")
    asyncio.run(app(scope, receive, answer))
    assert sent[0]["status"] == 408 and b"took too long to arrive" in sent[1]["body"]


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA")])
def test_too_little_memory(page, monkeypatch, error):
    def fail(*args):
        raise error

    monkeypatch.setattr(module, "map_photo", fail)
    answer = send(page)
    assert answer.status_code == 413 and "more memory than the server has" in answer.text


def resident():
    """Memory of this process, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def test_fifty_at_once_of_every_kind_do_not_stop_it_or_fill_the_memory(model):
    bad = [data for data, _ in hostile_files().values()]
    contents = [bad[i % len(bad)] if i % 3 else jpeg(i, 400, 500) for i in range(50)]
    contents[7] = bytes(5_000_000)
    with (
        serving(model, max_mb=1, max_megapixels=1, keep=3, max_waiting=4) as address,
        ThreadPoolExecutor(50) as pool,
        httpx.Client(base_url=address, timeout=60, limits=httpx.Limits(max_connections=50)) as page,
    ):
        memory = []
        for _ in range(6):
            answers = list(pool.map(lambda data: send(page, data), contents))
            statuses = {answer.status_code for answer in answers}
            assert 503 in statuses and statuses <= {200, 413, 422, 503}
            assert all(answer.json().get("error", ".").endswith(".") for answer in answers)
            assert send(page).status_code == 200
            memory.append(resident() if sys.platform == "linux" else 0)
        assert max(memory[3:]) < memory[2] + 64


# ---- safety -------------------------------------------------------------------------------------


def test_a_bug_shows_nothing_of_the_server(page, monkeypatch):
    def fail(*args):
        raise RuntimeError(f"secret of {__file__}")

    monkeypatch.setattr(module, "map_photo", fail)
    answer = send(page)
    assert answer.status_code == 500 and "secret" not in answer.text and "/" not in answer.text
    assert "its log says what" in answer.json()["error"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_headers(page, photo):
    for path in ("/", "/page.js", "/api/model", f"{photo}/photo.jpg", "/nothing"):
        headers = page.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert not any(name.startswith("access-control") for name in headers)
    assert page.get("/nothing").json() == {"error": "There is no such page."}
    assert page.get("/api/photos").status_code == 405


@pytest.mark.parametrize(
    "host", ["evil.com", "evil.com:8000", "127.0.0.1.evil.com", "10.0.0.1", ""]
)
def test_another_name_that_points_here_is_refused(page, model, host):
    answer = page.get("/api/model", headers=dict(host=host))
    assert answer.status_code == 421 and "answers to the names 127.0.0.1" in answer.text
    assert "content-security-policy" in answer.headers
    with open_page(model, host="0.0.0.0") as shared:  # whose name nobody knows
        assert shared.get("/api/model", headers=dict(host=host)).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:9", "[::1]", "[::1]:80"])
def test_names_of_this_machine(page, host):
    assert page.get("/api/model", headers=dict(host=host)).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", ""])
def test_other_sites_cannot_send(page, kind):
    headers = {"content-type": kind, "origin": "http://evil.com"}
    answer = page.post("/api/photos", content=jpeg(), headers=headers)
    assert answer.status_code == 415
    asked = page.options("/api/photos", headers={"access-control-request-method": "POST"} | headers)
    assert asked.status_code == 405


def test_names_of_files():
    assert clean_file_name("C:\\Users\\me\\a b.jpg") == "a b.jpg"
    assert clean_file_name("../../etc/passwd") == "passwd"
    assert clean_file_name("a\u202egpj.exe\0\r\n.jpg") == "agpj.exe.jpg"
    assert clean_file_name("x" * 999 + ".png")[-5:] == "x.png"
    assert len(clean_file_name("x" * 999)) == 100
    assert clean_file_name("") == clean_file_name("trip/") == clean_file_name("\n") == "photo"


def test_uploads_do_not_touch_the_disk(page, tmp_path):
    written, watching = [], True

    def watch(event, args):
        if watching and event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR):
            written.append(args[0])

    sys.addaudithook(watch)
    (tmp_path / "seen").write_text("x")
    assert written == [str(tmp_path / "seen")]
    photo = jpeg(height=900, width=1000)
    assert send(page, photo).status_code == 200
    assert send(page, bytes(3_000_000)).status_code == 413 and len(photo) > 200_000
    watching = False
    assert len(written) == 1


# ---- the server ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(port=70000), "--port must be between 0 and 65535, got 70000"),
        (dict(keep=0), "--keep must be above 0 and at most 1000, got 0"),
        (dict(max_mb=-1), "--max-mb must be above 0"),
        (dict(max_megapixels=200), "--max-megapixels must be above 0 and at most 178, got 200"),
        (dict(max_mb=float("nan")), "--max-mb must be above 0"),
    ],
)
def test_options(options, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        WebOptions(**options)


def test_ports():
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"Port {port} of 127.0.0.1 is taken, .* --port 0"):
            open_socket("127.0.0.1", port)
    open_socket("127.0.0.1", port).close()  # free again
    with pytest.raises(ValueError, match=r"has no address '203.0.113.7' .*: choose --host"):
        open_socket("203.0.113.7", 0)
    with pytest.raises(ValueError, match=r"has no address 'no\.such\.name\.invalid'"):
        open_socket("no.such.name.invalid", 0)


def test_a_system_port(monkeypatch):
    def bind(self, address):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", bind, raising=False)
    with pytest.raises(ValueError, match="Port 80 is for the system only: choose one above 1023"):
        open_socket("127.0.0.1", 80)


def test_missing_packages(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ValueError, match=re.escape("pip install 'afa[web]'")):
        server.check_packages()


def test_a_model_without_labels_is_refused():
    with pytest.raises(ValueError, match="Linear makes no label maps to show"):
        make_app(torch.nn.Linear(1, 1), "x", WebOptions())
