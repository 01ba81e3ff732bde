import { Tensor, loadAndCompile, loadLiteRt } from "@litertjs/core";
import { prepare } from "./resize.js";

const SHOWN = 5; // answers
const LONGEST = 1600; // pixels of a side: larger pictures are read at this size, which no network here resolves

const part = (id) => document.getElementById(id);
let about, model, stream;
let facing = "environment";

start().catch(fail);

async function start() {
  about = await (await fetch("model.json")).json();
  describe();
  await loadLiteRt("./runtime/wasm/");
  if (about.gpu && (await navigator.gpu?.requestAdapter())) {
    part("accelerator").add(new Option("the graphics card (WebGPU)", "webgpu"));
  }
  await compile("wasm");
  part("accelerator").disabled = false;
  listen();
  document.body.dataset.ready = "true";
  keep().catch((error) => console.warn("The page is not kept for use without a connection:", error));
}

/** Keep all that was loaded, so that the page works without a connection; what an earlier export kept is deleted. */
async function keep() {
  if (!navigator.serviceWorker) return; // on pages without https
  await navigator.serviceWorker.register("offline.js");
  const page = new URL("./", location).href;
  const name = `${page} ${about.version}`;
  const loaded = ["navigation", "resource"].flatMap((type) => performance.getEntriesByType(type).map((it) => it.name));
  await (await caches.open(name)).addAll([...new Set(loaded)].filter((url) => url.startsWith(page)));
  for (const other of await caches.keys()) {
    if (other.startsWith(`${page} `) && other !== name) await caches.delete(other);
  }
  document.body.dataset.kept = "true";
}

async function compile(accelerator) {
  const former = model;
  model = await loadAndCompile(`./${about.file}`, { accelerator });
  former?.delete();
  part("status").textContent = "Ready. Images stay on this device.";
}

function describe() {
  document.title = part("title").textContent = about.title;
  part("about").textContent = about.description;
  for (const [name, value] of about.facts) {
    part("facts").append(element("dt", name), element("dd", value));
  }
}

function element(tag, text, className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

// ---------------------------------------------------------------------------------------------------- images come in

function listen() {
  part("file").addEventListener("change", ({ target }) => target.files.length && show(target.files[0]));
  part("camera").addEventListener("click", () => (stream ? stopCamera() : startCamera().catch(fail)));
  part("flip").addEventListener("click", () => {
    facing = facing === "user" ? "environment" : "user";
    stopCamera();
    startCamera().catch(fail);
  });
  part("accelerator").addEventListener("change", ({ target }) =>
    compile(target.value)
      .then(() => part("shown").src && !stream && classify(part("shown")))
      .catch((error) => {
        fail(error);
        target.value = "wasm";
      }),
  );
  document.addEventListener("paste", ({ clipboardData }) => {
    const image = [...clipboardData.files].find((file) => file.type.startsWith("image/"));
    if (image) show(image);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    part("drop").classList.add("over");
  });
  document.addEventListener("dragleave", () => part("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    part("drop").classList.remove("over");
    if (event.dataTransfer.files.length) show(event.dataTransfer.files[0]);
  });
}

/** Show an image file and classify it. */
export async function show(file) {
  stopCamera();
  const image = part("shown");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(file);
  image.alt = file.name;
  image.hidden = false;
  part("hint").hidden = true;
  try {
    await image.decode();
  } catch {
    image.hidden = true;
    return fail(new Error(`${file.name} is not an image that this browser can show: choose a JPEG, PNG or WebP file`));
  }
  return classify(image).catch(fail);
}

async function startCamera() {
  if (!navigator.mediaDevices) {
    throw new Error("This browser gives no camera to pages without https: open the page by https or on localhost");
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: facing } });
  } catch (error) {
    throw new Error(`The camera cannot be used (${error.message}): allow it for this page, or choose a file`);
  }
  const video = part("video");
  video.srcObject = stream;
  await video.play();
  part("shown").hidden = part("hint").hidden = true;
  video.hidden = part("flip").hidden = false;
  part("camera").setAttribute("aria-pressed", "true");
  part("answers").setAttribute("aria-live", "off"); // a reader of the screen is not told of every frame
  while (stream) {
    await classify(video);
    await new Promise(requestAnimationFrame);
  }
}

function stopCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  stream = undefined;
  part("video").hidden = part("flip").hidden = true;
  part("camera").setAttribute("aria-pressed", "false");
  part("answers").setAttribute("aria-live", "polite");
}

// ------------------------------------------------------------------------------------------------------- answers go out

/** The probabilities of all classes for a picture or a frame; the most probable are shown. */
async function classify(source) {
  const began = performance.now();
  const input = new Tensor(pixelsOf(source), [1, ...about.input.size, 3]);
  let output;
  try {
    const [result] = await model.run(input);
    output = part("accelerator").value === "webgpu" ? await result.moveTo("wasm") : result;
    const scores = Array.from(output.toTypedArray());
    part("error").hidden = true;
    report(scores, performance.now() - began);
    return scores;
  } finally {
    input.delete();
    output?.delete();
  }
}

function pixelsOf(source) {
  let width = source.naturalWidth || source.videoWidth;
  let height = source.naturalHeight || source.videoHeight;
  const share = Math.min(1, LONGEST / Math.max(width, height));
  [width, height] = [width, height].map((side) => Math.max(1, Math.round(side * share)));
  const canvas = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  canvas.fillStyle = "white"; // behind what is transparent, as in training
  canvas.fillRect(0, 0, width, height);
  canvas.drawImage(source, 0, 0, width, height);
  return prepare(canvas.getImageData(0, 0, width, height).data, height, width, about.input);
}

function report(scores, milliseconds) {
  const best = scores.map((score, i) => [score, about.labels[i]]).sort(([a], [b]) => b - a);
  part("answers").replaceChildren(
    ...best.slice(0, SHOWN).map(([score, label]) => {
      const item = document.createElement("li");
      const bar = element("span", "", "bar");
      const filled = document.createElement("span");
      filled.style.width = `${100 * score}%`;
      bar.append(filled);
      item.append(element("span", label, "name"), element("span", `${(100 * score).toFixed(1)} %`), bar);
      return item;
    }),
  );
  part("status").textContent = `Resized and classified in ${milliseconds.toFixed(0)} ms`;
}

function fail(error) {
  part("error").textContent = error.message;
  part("error").hidden = false;
  if (!document.body.dataset.ready) part("status").textContent = "The network could not be loaded.";
}
