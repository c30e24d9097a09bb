// The room's page. Names and letters are only ever set as text. The instructor's key is the address's fragment: #key=…
"use strict";
const at = id => document.getElementById(id), key = new URLSearchParams(location.hash.slice(1)).get("key") || "";
let known = { keywords: [], tasks: {} };

function make(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

async function command(body) {
  const answer = await fetch("/api/command", { method: "POST", headers: { "Content-Type": "application/json", "X-Key": key }, body: JSON.stringify(body) });
  if (!answer.ok) at("task").textContent = await answer.text();
}

async function ladder(name) {
  const found = await (await fetch(`/api/dialogue/${encodeURIComponent(name)}`)).json();
  at("whose").textContent = `The latest session of ${name}`;
  at("said").replaceChildren(...found.dialogue.map(line => {
    const row = make("tr");
    row.append(make("td", line.role === "S" ? "" : line.text, { class: `${line.role} ${line.kind}` }), make("td", line.role === "S" ? line.text : "", { class: `${line.role} ${line.kind}` }));
    return row;
  }));
  at("ladder").showModal();
}

function rowOf(learner) {
  const row = make("tr"), shown = make("td"), last = make("td"), see = make("button", "dialogue", { type: "button" });
  for (const keyword of learner.shown) shown.append(make("span", keyword, { class: "chip" }));
  see.addEventListener("click", () => ladder(learner.name));
  last.append(see);
  const told = Object.entries(learner.progress).map(([chapter, [passed, of]]) => `${chapter} ${passed} of ${of}`).join(", ");
  const name = make("td", learner.name);
  if (learner.done) name.append(make("span", " ✓ done", { class: "done" }));
  row.append(name, make("td", learner.stage), shown, make("td", `${learner.sent} sent, ${learner.received} received`), make("td", told), last);
  return row;
}

function draw(room) {
  at("task").textContent = room.task ? `${room.task.words} (${room.learners.filter(one => one.done).length} of ${room.learners.length})` : "";
  at("learners").replaceChildren(...room.learners.map(rowOf));
  at("nobody").hidden = room.learners.length > 0;
  at("where").textContent = room.off.length ? `switched off: ${room.off.join(", ")}` : "every extension is on";
  for (const button of document.querySelectorAll("#instructor button")) button.setAttribute("aria-pressed", String(!room.off.includes(button.textContent)));
  const select = document.querySelector("#instructor select");
  if (select) select.value = room.task ? room.task.name : "";
}

async function begin() {
  known = await (await fetch("/api/room")).json();
  if (key) {
    const tasks = make("select", undefined, { "aria-label": "Task for the room" });
    tasks.append(make("option", "no task", { value: "" }));
    for (const [name, words] of Object.entries(known.tasks)) tasks.append(make("option", words, { value: name }));
    tasks.addEventListener("change", () => command({ task: tasks.value }));
    at("instructor").append(tasks);
    for (const keyword of known.keywords) {
      const button = make("button", keyword, { type: "button", "aria-pressed": "true" });
      button.addEventListener("click", () => command({ switch: keyword, on: button.getAttribute("aria-pressed") === "false" }));
      at("instructor").append(button);
    }
    at("instructor").hidden = false;
  }
  draw(known);
  listen();
}

function listen() {
  const stream = new EventSource("/api/events");
  stream.onmessage = event => draw(JSON.parse(event.data));
  stream.onerror = () => {
    at("task").textContent = "the room's server does not answer";
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 5000);    // there was no place
  };
}
begin();
