// The page of hush serve: each picture is sent, watched, shown before and after, and offered for download.
const controls = document.getElementById("controls");
const list = document.getElementById("pictures");
const drop = document.getElementById("drop");
const files = document.getElementById("files");
const DEEPER = /\.(tiff?|dng|cr2|cr3|nef|arw|raf|rw2|orf|npy|p[bgpn]m|heic|heif|tga)$/i; // what browsers do not show

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

// The address of something that a browser can show: the file itself, or a JPEG that the server makes of it.
async function visible(file, name) {
  const image = new Image();
  try {
    if (DEEPER.test(name)) throw new Error("not shown by all browsers");
    image.src = URL.createObjectURL(file);
    await image.decode();
    return image;
  } catch {
    URL.revokeObjectURL(image.src);
    const answer = await fetch("api/preview?" + new URLSearchParams({ name }), { method: "POST", body: file });
    if (!answer.ok) throw new Error(await failure(answer));
    image.src = URL.createObjectURL(await answer.blob());
    await image.decode();
    return image;
  }
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

class Picture {
  constructor(file) {
    this.file = file;
    this.card = document.getElementById("picture").content.firstElementChild.cloneNode(true);
    this.part("h2").textContent = file.name;
    this.part(".again").addEventListener("click", () => this.start());
    this.part(".cancel").addEventListener("click", () => this.stop?.abort());
    this.part(".remove").addEventListener("click", () => {
      this.stop?.abort();
      this.forget();
      this.card.remove();
    });
    list.prepend(this.card);
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

  forget() { // what the browser keeps for the last result
    for (const part of this.card.querySelectorAll("img[src], a[href]")) URL.revokeObjectURL(part.src ?? part.href);
  }

  async start() {
    this.stop?.abort();
    const stop = (this.stop = new AbortController());
    const job = crypto.getRandomValues(new Uint32Array(3)).join("-"); // randomUUID needs https or localhost
    this.part(".work").hidden = false;
    this.part(".again").hidden = true;
    this.say("Waiting for its turn …");
    const watching = setInterval(() => this.watch(job), 400);
    try {
      const asked = read();
      asked.set("name", this.file.name);
      asked.set("job", job);
      const answer = await fetch("api/denoise?" + asked, { method: "POST", body: this.file, signal: stop.signal });
      if (!answer.ok) throw new Error(await failure(answer));
      await this.show(answer);
    } catch (error) {
      if (this.stop !== stop) return; // a newer one is at work
      this.say(error.name === "AbortError" ? "Stopped." : error.message, error.name !== "AbortError");
    } finally {
      clearInterval(watching);
      if (this.stop === stop) {
        this.part(".work").hidden = true;
        this.part(".again").hidden = false;
      }
    }
  }

  async watch(job) {
    const answer = await fetch("api/progress/" + job).catch(() => null);
    const { done, total } = (await answer?.json().catch(() => null)) ?? {};
    if (!total || this.part(".work").hidden) return;
    const bar = this.part("progress");
    bar.max = total;
    bar.value = done;
    this.say("Denoising …");
  }

  async show(answer) {
    const told = JSON.parse(answer.headers.get("X-Hush-Result"));
    const restored = await answer.blob();
    this.forget();
    const name = /filename\*=utf-8''([^;]+)/i.exec(answer.headers.get("Content-Disposition"));
    const plain = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition"));
    const link = this.part(".button");
    link.href = URL.createObjectURL(restored);
    link.download = name ? decodeURIComponent(name[1]) : plain[1];
    link.hidden = false;
    const facts = [
      `${told.size[0]} × ${told.size[1]}`,
      told.pages > 1 ? `${told.pages} pages` : "",
      told.psnr === null ? "nothing was changed" : told.sigma === null ? "" : `noise of deviation ${told.sigma.toFixed(1)}`,
      `${told.seconds.toFixed(1)} s`,
      ...told.remarks,
    ];
    this.say(facts.filter(Boolean).join(", "));
    const [before, after] = await Promise.all([visible(this.file, this.file.name), visible(restored, link.download)]);
    this.part(".place").replaceChildren(slider(before, after));
  }
}

function take(chosen) {
  for (const file of [...chosen].reverse()) new Picture(file);
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
  controls.elements.quality.value = about.options.quality;
  document.getElementById("about").textContent =
    `hush ${about.version}. From a program: curl --data-binary @photo.jpg '${location.origin}/api/denoise?name=photo.jpg' -o clean.jpg`;
  tell();
})();
