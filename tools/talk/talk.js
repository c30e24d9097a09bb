// A slide is drawn as large as it fits, within bounds; how large is in its data-scale, which a test reads.
function fit(section) {
  if (!section || section.querySelector("section")) return;
  let box = section.querySelector(":scope > .fit");
  if (!box) {
    box = document.createElement("div");
    box.className = "fit";
    box.append(...section.childNodes);
    section.append(box);
  }
  const { width, height } = Reveal.getConfig();
  const fits = (scale) => {
    box.style.width = `${width / scale}px`;
    box.style.transform = `scale(${scale})`;
    const right = Math.max(box.scrollWidth, ...[...box.querySelectorAll("pre")].map((pre) => pre.scrollWidth));
    return box.scrollHeight * scale <= height && right * scale <= width + 1;
  };
  let scale = 1.3;
  box.classList.remove("wraps");
  while (scale > 0.95 && !fits(scale)) scale -= 0.025;
  if (scale <= 0.95) {                           // rather than smaller still: long lines go on in the next
    box.classList.add("wraps");
    for (scale = 1.1; scale > 0.3 && !fits(scale); ) scale -= 0.025;
  }
  section.dataset.scale = scale.toFixed(3);
}
Reveal.on("ready", (event) => fit(event.currentSlide));
Reveal.on("slidechanged", (event) => fit(event.currentSlide));
Reveal.initialize({
  width: 1180, height: 680, margin: 0.05, center: false, hash: true, controls: true, progress: true, slideNumber: "c/t",
  transition: "none", plugins: [RevealNotes, RevealZoom],
});
