// The page of hush serve: each picture is sent, watched, shown before and after, and offered for download.
const controls = document.getElementById("controls");
const list = document.getElementById("pictures");
const drop = document.getElementById("drop");
const files = document.getElementById("files");
const DEEPER = /\.(tiff?|dng|cr2|cr3|nef|arw|raf|rw2|orf|npy|exr|p[bgpn]m|heic|heif|tga)$/i; // what browsers do not show

function read() {
  const asked = new URLSearchParams(new FormData(controls));
  if (!asked.get("sigma")) asked.delete("sigma");
  return asked;
}

function tell() {
  for (const label of controls.querySelectorAll("label")) {
    const output = label.querySelector("output");
    if (output) output.value = Math.round(100 * label.querySelector("input").value) + " %";
  }
}

async function failure(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return `the server answered ${answer.status}`;
  }
}

// Something as a browser can show it: the file itself, or a JPEG that the server makes of it; and the values that are
// black and white there, so that the other picture of a pair is shown by the same.
async function visible(file, name, { keep, signal, range }) {
  const image = new Image();
  if (!DEEPER.test(name)) {
    image.src = keep(URL.createObjectURL(file));
    if (await image.decode().then(() => true, () => false)) return { image };
  }
  const asked = new URLSearchParams(range ? { name, range } : { name });
  const answer = await fetch("api/preview?" + asked, { method: "POST", body: file, signal });
  if (!answer.ok) throw new Error(await failure(answer));
  image.src = keep(URL.createObjectURL(await answer.blob()));
  await image.decode();
  return { image, range: answer.headers.get("X-Hush-Range") };
}

function slider(before, after) {
  const figure = document.getElementById("compare").content.firstElementChild.cloneNode(true);
  const [width, height] = [before.naturalWidth, before.naturalHeight];
  for (const [name, image] of [["before", before], ["after", after]]) {
    const shown = figure.querySelector("." + name);
    shown.src = image.src;
    shown.width = width;
    shown.height = height;
    shown.classList.toggle("tiny", width < 200);
  }
  figure.querySelector(".stage").dataset.width = width;
  figure.style.width = `min(100%, ${Math.max(width, 320)}px, ${(84 * width) / height}vh)`;
  compare(figure);
  return figure;
}

let turn = Promise.resolve(); // the server restores one picture at a time, and browsers open few connections

class Picture {
  addresses = []; // of what the browser keeps for this picture

  constructor(file) {
    this.file = file;
    this.card = document.getElementById("picture").content.firstElementChild.cloneNode(true);
    this.part("h2").textContent = file.name;
    this.part(".again").addEventListener("click", () => this.start());
    this.part(".cancel").addEventListener("click", () => this.stop.abort());
    this.part(".remove").addEventListener("click", () => {
      this.stop.abort();
      this.forget();
      this.card.remove();
    });
    list.append(this.card);
    this.start();
  }

  part(selector) {
    return this.card.querySelector(selector);
  }

  say(text, failed = false) {
    const told = this.part(".told");
    told.textContent = text;
    told.classList.toggle("failed", failed);
  }

  forget() {
    this.addresses.forEach((address) => URL.revokeObjectURL(address));
    this.addresses = [];
  }

  start() {
    this.stop?.abort();
    const { signal } = (this.stop = new AbortController());
    this.part("progress").removeAttribute("value");
    this.part(".work").hidden = false;
    this.part(".again").hidden = true;
    this.say("Waiting for its turn …");
    signal.addEventListener("abort", () => this.rest(signal));
    turn = turn.then(() => signal.aborted || this.run(signal)).finally(() => this.rest(signal));
  }

  rest(signal) {
    if (this.stop.signal !== signal) return; // a newer one waits or is at work
    if (signal.aborted) this.say("Stopped.");
    this.part(".work").hidden = true;
    this.part(".again").hidden = false;
  }

  async run(signal) {
    const job = crypto.getRandomValues(new Uint32Array(3)).join("-"); // randomUUID needs https or localhost
    const done = new AbortController();
    this.say("Denoising …");
    this.watch(job, done.signal);
    try {
      const asked = read();
      asked.set("name", this.file.name);
      asked.set("job", job);
      const answer = await fetch("api/denoise?" + asked, { method: "POST", body: this.file, signal });
      if (!answer.ok) throw new Error(await failure(answer));
      const restored = await answer.blob();
      done.abort();
      await this.show(answer.headers, restored, signal);
    } catch (error) {
      if (!signal.aborted) this.say(error.message, true);
    } finally {
      done.abort();
    }
  }

  async watch(job, signal) {
    const bar = this.part("progress");
    while (!signal.aborted) {
      await new Promise((resume) => setTimeout(resume, 400));
      const answer = await fetch("api/progress/" + job, { signal }).catch(() => null);
      const { done, total } = (await answer?.json().catch(() => null)) ?? {};
      if (total) [bar.max, bar.value] = [total, done];
    }
  }

  async show(headers, restored, signal) {
    const told = JSON.parse(headers.get("X-Hush-Result"));
    const disposition = headers.get("Content-Disposition");
    const name = /filename\*=utf-8''([^;]+)/i.exec(disposition);
    this.forget();
    const keep = (address) => {
      if (signal.aborted) URL.revokeObjectURL(address);
      else this.addresses.push(address);
      return address;
    };
    const link = this.part(".button");
    link.href = keep(URL.createObjectURL(restored));
    link.download = name ? decodeURIComponent(name[1]) : /filename="([^"]+)"/.exec(disposition)[1];
    link.hidden = false;
    const facts = [
      `${told.size[0]} × ${told.size[1]}`,
      told.pages > 1 ? `${told.pages} pages` : "",
      told.psnr === null ? "nothing was changed" : told.sigma === null ? "" : `noise of deviation ${told.sigma.toFixed(1)}`,
      told.weights ? `weights ${told.weights}` : "",
      `${told.seconds.toFixed(1)} s`,
      ...told.remarks,
    ];
    this.say(facts.filter(Boolean).join(", "));
    try {
      const before = await visible(this.file, this.file.name, { keep, signal });
      const after = await visible(restored, link.download, { keep, signal, range: before.range });
      this.part(".place").replaceChildren(slider(before.image, after.image));
    } catch (error) {
      if (!signal.aborted) this.part(".place").textContent = "It cannot be shown here: " + error.message;
    }
  }
}

function take(chosen) {
  for (const file of chosen) new Picture(file);
}

files.addEventListener("change", () => {
  take(files.files);
  files.value = "";
});
document.addEventListener("paste", (event) => take(event.clipboardData.files));
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") take(event.dataTransfer.files);
  });
}
controls.addEventListener("input", tell);
controls.addEventListener("submit", (event) => event.preventDefault());

(async () => {
  const about = await (await fetch("api")).json();
  const names = { auto: "as each picture needs", photo: "of a camera (photo)", gaussian: "white (gaussian)", own: "as the server's own weights know" };
  const shown = about.weights.filter((name) => name in names || name === about.options.weights);
  const select = controls.elements.weights;
  for (const name of shown) select.add(new Option(names[name] ?? name, name, false, name === about.options.weights));
  for (const name of ["quality", "strength", "keep_detail"]) controls.elements[name].value = about.options[name];
  if (about.options.keep_grain) controls.elements.keep_grain.value = about.options.keep_grain;
  document.getElementById("about").textContent =
    `hush ${about.version}. From a program: curl --data-binary @photo.jpg '${location.origin}/api/denoise?name=photo.jpg' -o clean.jpg`;
  tell();
})();
