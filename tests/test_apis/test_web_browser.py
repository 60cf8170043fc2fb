"""The page in a real browser: what a person sees, clicks, drops and is told."""

import os
import shutil
from contextlib import contextmanager

import pytest
from mmengine.config import Config
from PIL import Image
from toy_predict import write_checkpoint, write_config
from toy_web import hostile_files, jpeg, serving

from afa.apis import init_model
from afa.files.label_png import read_label_png

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no chromium on this machine (CHROMIUM names one)", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api")

# A photo is shown, with its layer, and nothing is being computed.
DONE = "#status:not(.busy) ~ #viewer #stage:not(.waiting) #layer:not([hidden])"


@pytest.fixture(scope="module")
def browser():
    how = dict(executable_path=CHROMIUM, args=["--no-sandbox"])
    with playwright.sync_playwright() as tool, tool.chromium.launch(**how) as browser:
        yield browser


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    return init_model(write_config(folder), write_checkpoint(folder), "cpu")


@pytest.fixture(scope="module")
def address(model):
    with serving(model, max_mb=1, max_megapixels=1, keep=2) as address:
        yield address


@pytest.fixture
def page(browser, address):
    with open_page(browser, address) as page:
        yield page


@contextmanager
def open_page(browser, address, **how):
    """Open the page; it may ask nobody but the server, and nothing in it may fail."""
    with browser.new_context(**how) as context:
        page = context.new_page()
        faults, asked = [], []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.wait_for_selector("#views label", state="attached")
        yield page
        assert not faults
        assert asked and all(url.startswith((address, "blob:", "data:")) for url in asked)


def choose(page, files, done=True):
    """Choose files, given as name to content, and wait for what comes of them."""
    sent = [dict(name=name, mimeType="", buffer=data) for name, data in files.items()]
    page.set_input_files("#files", sent)
    if done:
        page.wait_for_selector(DONE, state="attached")


def show(page, view):
    page.locator(f"#views label:has(input[value={view}])").click()
    page.wait_for_selector(DONE, state="attached")


def texts(page, selector):
    return [" ".join(text.split()) for text in page.locator(selector).all_inner_texts()]


def download(page, button):
    with page.expect_download() as waiting:
        page.click(button)
    return waiting.value.suggested_filename, waiting.value.path()


def test_photos_and_every_view(page):
    choose(page, {f"photo {seed}.jpg": jpeg(seed) for seed in range(3)})
    assert texts(page, "#views label") == [
        "Segmentation",
        "CAM",
        "CAM labels",
        "PAR labels",
        "Propagated labels",
        "Affinity",
    ]
    assert page.locator("#gallery img").count() == 3
    assert texts(page, "#name") == ["photo 0.jpg · 80 × 60"]
    assert len(texts(page, "#legend li")) > 0 and "%" in texts(page, "#legend li")[0]
    layers = set()
    for view in ("seg", "map", "cam", "par", "propagated", "affinity"):
        show(page, view)
        layers.add(page.locator("#layer").get_attribute("src"))
        assert page.locator("#meaning").inner_text()
        assert page.locator("#scale").is_visible() == (view in ("map", "affinity"))
    assert len(layers) == 6
    assert page.locator("#errors").is_hidden()


def test_thresholds_and_opacity(page):
    choose(page, {"a.jpg": jpeg()})
    show(page, "par")
    before = page.locator("#layer").get_attribute("src")
    page.fill("#cls_thr", "0")
    page.fill("#bkg_thr", "0")
    page.locator("#scores li:nth-child(3) button span:first-child", has_text="✓").wait_for()
    page.wait_for_selector(DONE, state="attached")
    playwright.expect(page.locator("#layer")).not_to_have_attribute("src", before)
    playwright.expect(page.locator("#legend")).not_to_contain_text("background")
    page.fill("#opacity", "0.2")
    playwright.expect(page.locator("#layer")).to_have_css("opacity", "0.2")


def test_a_class_shows_its_cam(page):
    choose(page, {"a.jpg": jpeg()})
    page.click("#scores li:last-child button")
    page.wait_for_selector(DONE, state="attached")
    name = page.locator("#scores li:last-child button span:nth-child(2)").inner_text()
    assert texts(page, "#names span") == [f"CAM of {name}"]
    assert page.locator("#views input[value=map]").is_checked()
    assert page.locator("#scores button[aria-pressed=true]").count() == 1


def test_the_affinity_of_a_point_by_mouse_and_by_keys(page):
    choose(page, {"a.jpg": jpeg()})
    box = page.locator("#stage").bounding_box()
    page.locator("#stage").click(position=dict(x=box["width"] * 0.1, y=box["height"] * 0.1))
    page.wait_for_selector(DONE, state="attached")
    first = page.locator("#layer").get_attribute("src")
    assert page.locator("#marker").is_visible()
    assert page.locator("#views input[value=affinity]").is_checked()
    page.locator("#stage").focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    page.wait_for_selector(DONE, state="attached")
    marker = page.locator("#marker").bounding_box()
    assert (marker["x"] + marker["width"] / 2 - box["x"]) / box["width"] == pytest.approx(
        0.6, abs=0.02
    )
    assert page.locator("#layer").get_attribute("src") != first


def test_downloads(page):
    choose(page, {"my cat.jpg": jpeg()})
    show(page, "par")
    name, path = download(page, "#get-label")
    assert name == "my cat_par.png" and read_label_png(path).shape == (60, 80)
    name, path = download(page, "#get-overlay")
    assert name == "my cat_par_overlay.jpg" and Image.open(path).size[0] >= 480
    show(page, "affinity")
    assert page.locator("#get-label").is_disabled()
    assert download(page, "#get-overlay")[0] == "my cat_affinity to the marked point.jpg"


def test_wrong_files_are_told_and_the_others_go_on(page):
    wrong = {name: data for name, (data, _) in hostile_files().items()}
    wrong["<img src=x onerror=alert(1)>.jpg"] = b"x"
    wrong["large.jpg"] = bytes(1_000_001)
    choose(page, {**wrong, "good.jpg": jpeg()})
    said = texts(page, "#errors li")
    assert len(said) == len(wrong) and all(text.endswith(".") for text in said)
    assert any("<img src=x onerror=alert(1)>.jpg" in text for text in said)
    assert any("'large.jpg' has 1.0 MB, more than the 1 MB" in text for text in said)
    assert texts(page, "#gallery .item") == ["good.jpg"]
    page.click("#hide-errors")
    assert page.locator("#errors").is_hidden()


def test_an_old_photo_is_sent_again(page):
    choose(page, {f"{seed}.jpg": jpeg(seed) for seed in range(4)})  # and two are kept
    with page.expect_request(lambda request: request.method == "POST"):
        page.click("#gallery li:nth-child(2) .item")
    playwright.expect(page.locator("#name")).to_contain_text("1.jpg")
    page.wait_for_selector(DONE, state="attached")
    assert page.locator("#errors").is_hidden()
    assert page.locator("#gallery li").count() == 4


def test_a_folder_is_a_gallery(page, tmp_path):
    (tmp_path / "trip/sub").mkdir(parents=True)
    (tmp_path / "trip/a.jpg").write_bytes(jpeg())
    (tmp_path / "trip/sub/b.JPG").write_bytes(jpeg(1))
    (tmp_path / "trip/notes.txt").write_text("no photo")
    page.set_input_files("#folder", tmp_path / "trip")
    page.wait_for_selector(DONE, state="attached")
    assert sorted(texts(page, "#gallery .item")) == ["a.jpg", "b.JPG"]
    assert texts(page, "#errors li")[0].startswith("1 files of the folder are no photos")
    page.click("#clear")
    assert page.locator("#viewer").is_hidden() and page.locator("#photos").is_hidden()


def test_photos_are_dropped(page):
    page.evaluate(
        """async (bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "dropped.jpg"));
            const how = {dataTransfer: data, cancelable: true};
            document.dispatchEvent(new DragEvent("dragover", how));
            document.dispatchEvent(new DragEvent("drop", how));
        }""",
        list(jpeg()),
    )
    page.wait_for_selector(DONE, state="attached")
    assert texts(page, "#gallery .item") == ["dropped.jpg"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_sees_it_whole(browser, address, scheme):
    size = dict(width=390, height=844)
    with open_page(browser, address, viewport=size, color_scheme=scheme) as page:
        choose(page, {"a.jpg": jpeg(), "a rather long name of a photo of ours.jpg": jpeg(1)})
        for view in ("seg", "map"):
            show(page, view)
            for part in page.locator("body > *, main > *, #viewer > *, aside *, #views *").all():
                box = part.bounding_box()
                if box and part.is_visible():
                    assert box["x"] >= 0 and box["x"] + box["width"] <= 390.5


def test_tab_reaches_everything(page):
    choose(page, {"a.jpg": jpeg()})
    reached = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        name = "() => document.activeElement.id || document.activeElement.name || "
        reached.add(page.evaluate(name + "document.activeElement.className"))
    wanted = {
        "files",
        "folder",
        "clear",
        "view",
        "stage",
        "opacity",
        "cls_thr",
        "get-label",
        "item",
    }
    assert wanted <= reached
    for image in page.locator("img").all():
        assert image.get_attribute("alt") is not None
    assert page.locator("#stage").get_attribute("aria-label").startswith("Segmentation over the")


def test_a_classifier_has_neither_segmentation_nor_affinity(browser, tmp_path):
    cfg = Config.fromfile(write_config(tmp_path))
    head = dict(type="CAMHead", in_channels=256, num_classes=4, pooling="avg")
    backbone = dict(type="MiTAttn", arch="b0")
    preprocessor = cfg.model.data_preprocessor
    cfg.model = dict(
        type="CAMClassifier",
        data_preprocessor=preprocessor,
        backbone=backbone,
        cls_head=head,
    )
    with serving(init_model(cfg, device="cpu")) as address, open_page(browser, address) as page:
        choose(page, {"a.jpg": jpeg()})
        assert texts(page, "#views label") == ["CAM", "CAM labels"]
        page.locator("#stage").click()
        assert page.locator("#marker").is_hidden() and page.locator("#errors").is_hidden()


def test_a_server_that_has_ended(browser, model):
    with serving(model) as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("#views label", state="attached")
    choose(page, {"a.jpg": jpeg()}, done=False)
    playwright.expect(page.locator("#errors li")).to_have_text(
        "The server does not answer: see whether it still runs."
    )
    context.close()


def test_the_photo_is_not_stretched(page):
    choose(page, {"tall.jpg": jpeg(height=300, width=100)})
    box = page.locator("#photo").bounding_box()
    assert box["height"] / box["width"] == pytest.approx(3, rel=0.02)
