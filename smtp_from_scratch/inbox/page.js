// The inbox's page. A message's text is only ever set as text; its HTML is shown by a frame that may do nothing.
"use strict";
const list = document.getElementById("list"), view = document.getElementById("message"), said = document.getElementById("status");
let run = "", latest = 0, shown = 0, tab = "Text";

function make(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function row(message) {
  const button = make("button", message.subject || "(no subject)", { type: "button", "data-id": message.id });
  button.append(make("small", `${message.from || "<>"} → ${message.to.join(", ")}`), make("small", new Date(message.received).toLocaleTimeString()));
  button.addEventListener("click", () => show(message.id));
  const item = make("li");
  item.append(button);
  list.prepend(item);
}

const faces = {
  Text: m => make("pre", m.text || "(this message has no text/plain part)"),
  HTML: m => m.has_html ? make("iframe", undefined, { src: `/api/messages/${m.id}/html`, sandbox: "", referrerpolicy: "no-referrer", title: "The message's HTML, without scripts and without anything from elsewhere" })
                        : make("p", "(this message has no text/html part)", { class: "empty" }),
  Header: m => make("pre", m.header),
  Parts: m => {
    const table = make("table");
    for (const part of m.parts) {
      const line = make("tr"), link = make("a", part.name || `part ${part.number + 1}`, { href: `/api/messages/${m.id}/parts/${part.number}`, download: part.name || `part-${part.number + 1}` });
      line.append(make("td"), make("td", part.type), make("td", `${part.size.toLocaleString()} octets`));
      line.firstChild.append(link);
      table.append(line);
    }
    return table;
  },
  Source: m => {
    const pre = make("pre", "…");
    fetch(`/api/messages/${m.id}/source`).then(answer => answer.text()).then(text => { pre.textContent = text; });
    return pre;
  },
  Dialogue: m => {
    const table = make("table", undefined, { class: "ladder" }), head = make("tr");
    head.append(make("th", "client →"), make("th", "← server"));
    head.lastChild.style.textAlign = "right";
    table.append(head);
    for (const line of m.dialogue) {
      const tr = make("tr");
      tr.append(make("td", line.role === "S" ? "" : line.text, { class: `${line.role} ${line.kind}` }), make("td", line.role === "S" ? line.text : "", { class: `${line.role} ${line.kind}` }));
      table.append(tr);
    }
    return table;
  },
};

async function show(id) {
  const answer = await fetch(`/api/messages/${id}`);
  if (!answer.ok) return;
  const message = await answer.json();
  shown = id;
  for (const button of list.querySelectorAll("button")) button.setAttribute("aria-current", String(Number(button.dataset.id) === id));
  const tabs = make("div", undefined, { class: "tabs", role: "tablist" }), face = make("div");
  const turn = name => {
    tab = name;
    for (const button of tabs.children) button.setAttribute("aria-selected", String(button.textContent === name));
    face.replaceChildren(faces[name](message));
  };
  for (const name of Object.keys(faces)) {
    const button = make("button", name, { type: "button", role: "tab" });
    button.addEventListener("click", () => turn(name));
    tabs.append(button);
  }
  const e = message.envelope;
  view.replaceChildren(make("h2", message.subject || "(no subject)"),
    make("div", `envelope: from <${e.from}> to ${e.to.map(one => `<${one}>`).join(", ")}`),
    make("div", `${message.size.toLocaleString()} octets by ${e.protocol} from ${e.hello} [${e.peer}]${e.user ? `, logged in as ${e.user}` : ""}, ${new Date(message.received).toLocaleString()}`), tabs, face);
  turn(tab);
}

function clear(words, status) {
  shown = 0;
  list.replaceChildren();
  view.replaceChildren(make("p", words, { class: "empty" }));
  said.textContent = status;
}

async function newer() {
  const found = await (await fetch(`/api/messages?after=${latest}`)).json();
  if (run && run !== found.run) {              // another server, which counts from 1
    clear("The server has started again.", "waiting for the first message");
    latest = 0;
    run = found.run;
    return newer();
  }
  run = found.run;
  return found.messages;
}

async function look() {
  try {
    const found = await newer();
    for (const message of found) { row(message); latest = message.id; }
    if (list.children.length) said.textContent = `${list.children.length} message${list.children.length > 1 ? "s" : ""}`;
    if (found.length && !shown) show(latest);
  } catch { said.textContent = "the server has ended"; }
  setTimeout(look, 1000);
}

document.getElementById("forget").addEventListener("click", async () => {
  await fetch("/api/messages", { method: "DELETE" });
  clear("Forgotten.", "no messages");
});
look();
