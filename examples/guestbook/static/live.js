// Shows new entries as the server sends them, until the session ends.
"use strict";

const list = document.getElementById("live-entries");
const state = document.getElementById("live-state");
const hint = document.getElementById("live-hint");

function show(text) {
  state.textContent = text;
  state.dataset.state = text.replaceAll(" ", "-");
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

// The same markup as templates/entry.html. Everything is text, so nothing needs an escape.
function article(entry) {
  const initial = element("span", `initial tint-${entry.tint}`, entry.initial);
  initial.setAttribute("aria-hidden", "true");
  const time = element("time", "", entry.written);
  time.dateTime = entry.iso;
  const by = element("p", "by", "");
  by.append(element("strong", "", entry.author), " ", time);
  const text = element("p", "text", entry.text);
  text.dir = "auto";
  const body = document.createElement("div");
  body.append(by, text);
  const made = element("article", "entry new", "");
  made.append(initial, body);
  return made;
}

function connect() {
  const source = new EventSource(`/live/events?after=${list.dataset.last}`);

  source.addEventListener("hello", (event) => {
    if (event.data === list.dataset.listener) {
      show("connected");
    } else if (event.data === "guest") {
      source.close();
      show("signed out");
      const again = element("a", "", "Sign in again");
      again.href = "/sign-in?next=/live";
      hint.replaceChildren("Your session has ended. ", again, " to go on as a member.");
    } else {
      source.close();
      location.reload();
    }
  });

  source.addEventListener("entry", (event) => {
    list.dataset.last = event.lastEventId;
    list.prepend(article(JSON.parse(event.data)));
  });

  // The session has ended or has a new id. The next connection tells which.
  source.addEventListener("end", () => {
    source.close();
    connect();
  });

  source.addEventListener("error", () => {
    source.close();
    show("reconnecting");
    setTimeout(connect, 3000);
  });
}

connect();
