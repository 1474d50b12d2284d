// Before/after views: drag, tap or use the arrow keys; zoom in on single pixels.
function compare(figure) {
  const [view, scroll, stage, line] = [".view", ".scroll", ".stage", ".line"].map((name) => figure.querySelector(name));
  const [left, right] = figure.querySelectorAll(".tag");
  const buttons = figure.querySelectorAll(".zoom button");
  const fit = figure.style.width;
  let split = 50;
  let zoom = 0; // 0: as wide as the page allows, otherwise screen pixels per picture pixel

  function show(percent) {
    split = Math.min(100, Math.max(0, percent));
    stage.style.setProperty("--split", split + "%");
    line.setAttribute("aria-valuenow", Math.round(split));
    left.style.opacity = split < 12 ? 0 : 1;
    right.style.opacity = split > 88 ? 0 : 1;
  }

  function follow(event) {
    const box = stage.getBoundingClientRect();
    show((100 * (event.clientX - box.left)) / box.width);
  }

  function drag(event, move) {
    const end = new AbortController();
    const options = { signal: end.signal };
    stage.setPointerCapture(event.pointerId);
    stage.addEventListener("pointermove", move, options);
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, () => end.abort(), options);
  }

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (!zoom || line.contains(event.target)) {
      follow(event);
      drag(event, follow);
      line.focus({ preventScroll: true });
      event.preventDefault();
    } else if (event.pointerType === "mouse") { // fingers scroll by themselves
      drag(event, (move) => scroll.scrollBy(-move.movementX, -move.movementY));
      event.preventDefault();
    }
  });

  line.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 10 : 2;
    const to = {
      ArrowLeft: split - step, ArrowDown: split - step, ArrowRight: split + step, ArrowUp: split + step,
      PageDown: split - 20, PageUp: split + 20, Home: 0, End: 100,
    }[event.key];
    if (to === undefined) return;
    show(to);
    event.preventDefault();
  });

  buttons.forEach((button) => button.addEventListener("click", () => {
    const middle = [
      (scroll.scrollLeft + scroll.clientWidth / 2) / stage.offsetWidth,
      (scroll.scrollTop + scroll.clientHeight / 2) / stage.offsetHeight,
    ];
    zoom = Number(button.dataset.zoom);
    view.classList.toggle("zoomed", zoom > 0);
    stage.style.width = zoom ? zoom * stage.dataset.width + "px" : "";
    figure.style.width = zoom ? `min(100%, ${stage.style.width})` : fit;
    buttons.forEach((other) => other.setAttribute("aria-pressed", other === button));
    scroll.scrollLeft = middle[0] * stage.offsetWidth - scroll.clientWidth / 2;
    scroll.scrollTop = middle[1] * stage.offsetHeight - scroll.clientHeight / 2;
  }));

  show(split);
}

document.querySelectorAll(".compare").forEach(compare);
