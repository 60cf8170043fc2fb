"use strict";

const $ = (id) => document.getElementById(id);
const SUFFIX = /\.(avif|bmp|gif|hei[cf]|jfif|jp2|jpe|jpe?g|png|ppm|tiff?|webp)$/i;
const VIEWS = {
  seg: ["Segmentation", "The class of every pixel: the answer of the part of the network that segments."],
  map: ["CAM", "Class activation map: how strongly each place speaks for one class. The network was told only which "
    + "classes a photo has, not where; what it found typical lights up, often a part rather than the whole object."],
  cam: ["CAM labels", "Every pixel gets the class whose CAM is highest there, or background where none is above the threshold."],
  par: ["PAR labels", "Pixel-adaptive refinement: neighbouring pixels of like colour share their labels, so that borders "
    + "follow those in the photo."],
  propagated: ["Propagated labels", "The CAMs first spread to places that belong together (their affinity), then PAR refines "
    + "them: labels cover objects more wholly."],
  affinity: ["Affinity", ""],
};
const AFFINITY = {
  affinity: "How much every place belongs together with the marked point, as learned from the network's attention.",
  attention: "How much the network's attention links every place with the marked point; this model uses it as it is.",
};

let model;
let photos = []; // {file, name, state: waiting | working | ready, id, scores, thumb, ...}
let current = null;
let view = null;
let working = false;
let drawing = null; // AbortController of what is being drawn
let shownId = null; // of the photo in the stage
let timer = 0;
let names = [];

// ---- talk with the server ------------------------------------------------------------------------

async function request(path, options = {}) {
  for (let tries = 0; ; tries++) {
    let answer;
    try {
      answer = await fetch(path, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The server does not answer: see whether it still runs.");
    }
    if (answer.ok) return answer;
    if (answer.status === 503 && tries < 60) {
      say("Others are served first; waiting…", true);
      await new Promise((done) => setTimeout(done, 2000));
      continue;
    }
    const said = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(said.error || `The server answered with status ${answer.status}.`), { status: answer.status });
  }
}

const address = (photo, what, query = {}) => `api/photos/${photo.id}${what}?${new URLSearchParams(query)}`;

// ---- photos --------------------------------------------------------------------------------------

function add(files, fromFolder = false) {
  const chosen = fromFolder ? files.filter((file) => SUFFIX.test(file.name)) : files;
  if (chosen.length < files.length) complain(`${files.length - chosen.length} files of the folder are no photos by their names: left out.`);
  for (const file of chosen) {
    const most = model.max_bytes / 1e6;
    if (file.size > model.max_bytes) complain(`'${file.name}' has ${(file.size / 1e6).toFixed(1)} MB, more than the ${most} MB that are taken: scale it down.`);
    else photos.push({ file, name: file.name, state: "waiting" });
  }
  pump();
}

async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((found, failed) => entry.file(found, failed))];
  const reader = entry.createReader();
  const inside = [];
  for (let part; (part = await new Promise((found, failed) => reader.readEntries(found, failed))).length;) inside.push(...part);
  return (await Promise.all(inside.map(filesOf))).flat();
}

async function drop(event) {
  event.preventDefault();
  document.body.classList.remove("over");
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
  if (!entries.length) return add([...event.dataTransfer.files]); // from another program, not from a folder
  for (const entry of entries) {
    try {
      add(await filesOf(entry), entry.isDirectory);
    } catch {
      complain(`'${entry.name}' cannot be read by the browser: see whether it is still there.`);
    }
  }
}

async function pump() {
  drawGallery();
  if (working) return;
  working = true;
  for (let photo; (photo = current?.state === "waiting" ? current : photos.find((one) => one.state === "waiting"));) {
    photo.state = "working";
    drawGallery();
    const done = photos.filter((one) => one.state === "ready").length;
    say(`Computing ${photo.name} (${done + 1} of ${photos.length})…`, true);
    try {
      await send(photo);
      photo.state = "ready";
      if (!photos.includes(photo)) forget(photo);
      else if (!current || current === photo) choose(photo);
    } catch (error) {
      complain(error.message);
      remove(photo);
    }
  }
  working = false;
  say(photos.length ? `${photos.length} ${photos.length > 1 ? "photos" : "photo"} ready.` : "");
  drawGallery();
}

async function send(photo) {
  const body = await photo.file.arrayBuffer().catch(() => {
    throw new Error(`'${photo.name}' cannot be read by the browser: see whether it is still there.`);
  });
  const headers = { "Content-Type": "application/octet-stream" };
  const answer = await request(`api/photos?${new URLSearchParams({ name: photo.file.name })}`, { method: "POST", body, headers });
  Object.assign(photo, await answer.json());
}

function forget(photo) {
  if (photo.id) fetch(address(photo, ""), { method: "DELETE" }).catch(() => {});
}

function remove(photo) {
  photos = photos.filter((one) => one !== photo);
  forget(photo);
  if (current === photo) choose(photos.find((one) => one.state === "ready") || null);
  drawGallery();
}

function drawGallery() {
  $("photos").hidden = !photos.length;
  const items = photos.map((photo) => {
    const item = make("button", { className: "item", type: "button", title: photo.name });
    const note = { waiting: "waiting", working: "computing…", ready: "" }[photo.state];
    const thumb = make("span", { className: "thumb", textContent: photo.thumb ? "" : note });
    if (photo.thumb) thumb.append(make("img", { src: photo.thumb, alt: "" }));
    item.append(thumb, make("span", { textContent: photo.name }));
    item.setAttribute("aria-current", photo === current);
    item.onclick = () => choose(photo);
    const away = make("button", { className: "remove", type: "button", textContent: "×" });
    away.setAttribute("aria-label", `Remove ${photo.name}`);
    away.onclick = () => remove(photo);
    const row = make("li");
    row.append(item, away);
    return row;
  });
  const focused = [...$("gallery").querySelectorAll("button")].indexOf(document.activeElement);
  $("gallery").replaceChildren(...items);
  if (focused >= 0) $("gallery").querySelectorAll("button")[focused]?.focus();
}

function choose(photo) {
  current = photo;
  $("viewer").hidden = !photo;
  if (!photo) return drawGallery();
  photo.cls ??= photo.scores?.[0]?.[0];
  photo.point ??= { x: 0.5, y: 0.5 };
  drawGallery();
  show();
}

// ---- the picture ---------------------------------------------------------------------------------

function query() {
  if (view === "map") return { cls: current.cls };
  if (view === "affinity") return current.point;
  return { kind: view, bkg_thr: $("bkg_thr").value, cls_thr: $("cls_thr").value };
}

async function show() {
  if (current?.state !== "ready") return pump();
  const photo = current;
  drawing?.abort();
  drawing = new AbortController();
  const { signal } = drawing;
  $("stage").classList.add("waiting");
  drawAround();
  try {
    if (shownId !== photo.id) {
      await setImage($("photo"), address(photo, "/photo.jpg"), signal);
      if (signal.aborted) return;
      shownId = photo.id;
      $("layer").hidden = true; // that of another photo
      $("stage").style.width = `min(100%, ${72 * Math.max(0.05, photo.width / photo.height)}vh)`;
    }
    let found = { names: [], legend: [] };
    if (view === "map" || view === "affinity") await setImage($("layer"), address(photo, "/map.png", query()), signal);
    else {
      found = await (await request(address(photo, "/labels", query()), { signal })).json();
      $("layer").src = found.layer;
      await $("layer").decode();
    }
    if (signal.aborted) return;
    $("layer").hidden = false;
    drawFound(found);
    $("stage").classList.remove("waiting");
    if (!working) say("");
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    if (error.status === 404) { // kept no longer: it is sent again
      photo.state = "waiting";
      return pump();
    }
    complain(error.message);
  }
}

async function setImage(image, path, signal) {
  const blob = await (await request(path, { signal })).blob();
  if (signal.aborted) return;
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(blob);
  await image.decode();
}

function drawAround() {
  const isLabel = view !== "map" && view !== "affinity";
  for (const input of $("views").querySelectorAll("input")) input.checked = input.value === view;
  $("name").textContent = `${current.name} · ${current.width} × ${current.height}`;
  $("meaning").textContent = VIEWS[view][1];
  $("get-label").disabled = !isLabel;
  $("get-label").title = isLabel ? "" : "A label map is there for the label views";
  $("scale").hidden = isLabel;
  $("bkg_thr").disabled = !["cam", "par", "propagated"].includes(view);
  $("marker").hidden = view !== "affinity";
  $("marker").style.left = `${100 * current.point.x}%`;
  $("marker").style.top = `${100 * current.point.y}%`;
  const threshold = Number($("cls_thr").value);
  $("scores").replaceChildren(...current.scores.map(([cls, score]) => {
    const button = make("button", { type: "button" });
    button.append(make("span", { textContent: score > threshold ? "✓" : "" }),
      make("span", { textContent: model.classes[cls + 1] }), make("span", { textContent: score.toFixed(2) }),
      make("meter", { value: score, ariaHidden: "true" }));
    button.setAttribute("aria-pressed", view === "map" && cls === current.cls);
    button.onclick = () => { current.cls = cls; setView("map"); };
    const row = make("li");
    row.append(button);
    return row;
  }));
}

function drawFound({ names: found, legend }) {
  const shown = legend.map(({ text, color, share }) => {
    const entry = make("li");
    const swatch = make("i");
    if (color) swatch.style.background = `rgb(${color})`;
    entry.append(swatch, `${text} ${(100 * share).toFixed(1)} %`);
    return entry;
  });
  $("legend").replaceChildren(...shown);
  const title = view === "map" ? `CAM of ${model.classes[current.cls + 1]}` : VIEWS[view][0];
  const classes = legend.map(({ text }) => text).join(", ");
  $("stage").setAttribute("aria-label", `${title} over the photo ${current.name}${classes ? `: ${classes}` : ""}`);
  names = view === "map" ? [{ text: title, x: 0, y: 0 }] : found;
  placeNames();
}

function placeNames() {
  const { clientWidth: width, clientHeight: height } = $("stage");
  const taken = [];
  const spans = names.map(({ text }) => make("span", { textContent: text }));
  $("names").replaceChildren(...spans);
  spans.forEach((span, i) => {
    const [w, h] = [span.offsetWidth, span.offsetHeight];
    const x = Math.max(2, Math.min(names[i].x * width - w / 2, width - w - 2));
    const y = Math.max(2, Math.min(names[i].y * height - h / 2, height - h - 2));
    const hit = w > width || taken.some((o) => x < o.x + o.w && o.x < x + w && y < o.y + o.h && o.y < y + h);
    span.hidden = hit; // in the legend all the same
    if (!hit) taken.push({ x, y, w, h });
    span.style.left = `${x}px`;
    span.style.top = `${y}px`;
  });
}

function mark(x, y) {
  if (!model.affinity || current?.state !== "ready") return;
  current.point = { x: Math.min(1, Math.max(0, x)), y: Math.min(1, Math.max(0, y)) };
  setView("affinity");
}

function setView(name) {
  view = name;
  show();
}

async function download(what) {
  try {
    const answer = await request(address(current, what, { ...query(), opacity: $("opacity").value }));
    const name = /UTF-8''(.+)/.exec(answer.headers.get("Content-Disposition"));
    const link = make("a", { href: URL.createObjectURL(await answer.blob()), download: decodeURIComponent(name[1]) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  } catch (error) {
    complain(error.message);
    if (error.status === 404) show();
  }
}

// ---- words ---------------------------------------------------------------------------------------

const make = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);

function say(text, busy = false) {
  $("status").textContent = text;
  $("status").classList.toggle("busy", busy);
}

function complain(sentence) {
  $("errors").hidden = false;
  $("errors").querySelector("ul").append(make("li", { textContent: sentence }));
}

function settle(id) {
  $(`${id}-value`).textContent = Number($(id).value).toFixed(2);
  if (id === "opacity") $("layer").style.opacity = $(id).value;
}

async function start() {
  model = await (await request("api/model")).json();
  const number = model.classes.length - 1;
  $("about").textContent = `${model.title}, ${number} classes: ${model.classes.slice(1, 9).join(", ")}${number > 8 ? ", …" : ""}`;
  $("limits").textContent = `Up to ${model.max_bytes / 1e6} MB and ${model.max_megapixels} megapixels each. Nothing is `
    + `written to disk. The server keeps what it made of the last ${model.keep} photos, fewer if they are large; an older one is sent `
    + "and computed again when you choose it.";
  VIEWS.affinity[1] = `${AFFINITY[model.affinity]} Click a point, or move it with the arrow keys. It was learned for places that `
    + `are near each other (${model.radius} steps of the grid); further away it is a guess.`;
  const has = model.kinds.filter((kind) => kind === "seg").concat(model.cams ? ["map"] : [],
    ["cam", "par", "propagated"].filter((kind) => model.kinds.includes(kind)), model.affinity ? ["affinity"] : []);
  for (const name of has) {
    const label = make("label");
    label.append(make("input", { type: "radio", name: "view", value: name, onchange: () => setView(name) }), VIEWS[name][0]);
    $("views").append(label);
  }
  view = has[0];
  for (const part of document.querySelectorAll("[data-needs]")) part.hidden = !model.cams;
  $("stage").style.cursor = model.affinity ? "" : "default";
  if (number > model.max_cams) $("more-classes").textContent = `The ${model.max_cams} highest of ${number}.`;
  for (const id of ["bkg_thr", "cls_thr", "opacity"]) {
    if (id in model) $(id).value = model[id];
    settle(id);
    $(id).oninput = () => {
      settle(id);
      clearTimeout(timer);
      if (id !== "opacity") timer = setTimeout(show, 120);
    };
  }
}

for (const id of ["files", "folder"]) {
  $(id).onchange = () => {
    add([...$(id).files], id === "folder");
    $(id).value = "";
  };
}
$("hide-errors").onclick = () => { $("errors").hidden = true; $("errors").querySelector("ul").replaceChildren(); };
$("clear").onclick = () => [...photos].forEach(remove);
$("get-label").onclick = () => download("/label.png");
$("get-overlay").onclick = () => download("/overlay.jpg");
$("stage").onclick = (event) => {
  const box = $("photo").getBoundingClientRect();
  mark((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
};
$("stage").onkeydown = (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!step || !current || !model.affinity) return;
  event.preventDefault();
  mark(current.point.x + step[0] / 20, current.point.y + step[1] / 20);
};
document.ondragover = (event) => { event.preventDefault(); document.body.classList.add("over"); };
document.ondragleave = (event) => { if (!event.relatedTarget) document.body.classList.remove("over"); };
document.ondrop = drop;
new ResizeObserver(placeNames).observe($("stage"));
start().catch((error) => complain(error.message));
