// Keeps the page current: fetches it again and takes over what differs, so that focus, scroll and what is open stay as they are.
"use strict";

const PERIOD = 2000;
const PATIENCE = 5000;
let timer;
let answered = Date.now();

// Makes an element what a fresh one is.
function become(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  const mine = old.tagName === "DETAILS" ? "open" : old.tagName === "INPUT" ? "value" : null;
  for (const { name } of [...old.attributes]) {
    if (name !== mine && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (name !== mine && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const named = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let next = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    // What has a name is the same under that name only; the rest is the same at the same place.
    let same = child.id ? named.get(child.id) : next;
    if (!same || same.nodeName !== child.nodeName || (same.id ?? "") !== (child.id ?? "")) same = null;
    if (!same) {
      old.insertBefore(document.importNode(child, true), next);
      continue;
    }
    if (same === next) next = next.nextSibling;
    else old.insertBefore(same, next);
    become(same, child);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}

function take(fresh) {
  const sheet = (page) => page.querySelector("link[rel=stylesheet]")?.getAttribute("href");
  if (sheet(fresh) !== sheet(document)) {
    location.reload();
    return;
  }
  const focused = document.activeElement;
  for (const part of ["main", "updated"]) become(document.getElementById(part), fresh.getElementById(part));
  document.title = fresh.title;
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
}

function silent(problem) {
  const notice = document.getElementById("silent");
  document.body.classList.toggle("stale", problem !== null);
  notice.hidden = problem === null;
  // Said once: a reader that is told of each change would repeat it every two seconds.
  if (problem !== null && notice.textContent === "") {
    const since = new Date(answered).toISOString().slice(11, 19);
    notice.textContent = `Rolecall does not answer (${problem}). This page shows how it was at ${since} UTC.`;
  } else if (problem === null) {
    notice.textContent = "";
  }
}

async function update() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    const response = await fetch(location.origin + location.pathname + location.search, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    if (!fresh.getElementById("main")) throw new Error(`status ${response.status}`);
    answered = Date.now();
    take(fresh);
    silent(null);
  } catch (error) {
    silent(error.name === "TimeoutError" ? "no answer in time" : error.message);
  }
  clearTimeout(timer);
  timer = setTimeout(update, PERIOD);
}

document.addEventListener("visibilitychange", update);
timer = setTimeout(update, PERIOD);
