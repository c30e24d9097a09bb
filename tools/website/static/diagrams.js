// Diagrams written in Mermaid, drawn where there are any; the library lies beside this file.
document.addEventListener("DOMContentLoaded", () => {
  const fences = document.querySelectorAll(".highlight-mermaid pre");
  if (!fences.length) return;
  const script = document.createElement("script");
  script.src = new URL("mermaid.min.js", document.querySelector("script[src*='diagrams.js']").src);
  script.onload = () => {
    const dark = document.documentElement.dataset.theme === "dark";
    mermaid.initialize({ startOnLoad: false, theme: dark ? "dark" : "default" });
    fences.forEach((fence) => {
      const box = document.createElement("div");
      box.className = "mermaid";
      box.textContent = fence.textContent;
      fence.closest(".highlight-mermaid").replaceWith(box);
    });
    mermaid.run();
  };
  document.head.append(script);
});
