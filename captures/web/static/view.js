// The newest state and picture of the session. The server sends the next ones when this browser has shown the last.

export function watch({ onState, onPicture, onLost }) {
  let socket = null;
  let ended = false;
  const open = () => {
    socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/view`);
    socket.binaryType = "blob";
    const ready = () => { if (socket.readyState === WebSocket.OPEN) socket.send("ready"); };
    socket.onopen = ready;
    socket.onmessage = async (message) => {
      if (typeof message.data !== "string") {
        await onPicture(message.data);
        ready();
        return;
      }
      const state = JSON.parse(message.data);
      if (state.error) return;
      ended = Boolean(state.ended);
      onState(state);
      if (!state.picture) ready(); // otherwise after showing the picture that follows
    };
    socket.onclose = () => {
      onLost();
      if (!ended) setTimeout(open, 1000);
    };
  };
  open();
  return {
    send: (action, value = "") => {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ do: action, value }));
    },
  };
}

export async function draw(canvas, blob) {
  const bitmap = await createImageBitmap(blob);
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  canvas.hidden = false;
}

export function showPill(pill, state) {
  const kind = state.ended ? "ended" : state.trouble ? "trouble" : state.recording === false ? "paused" : "";
  pill.className = `pill ${kind}`;
  setText(pill, state.ended ? "session ended" : state.trouble || (state.recording === false ? "paused" : "recording"));
}

// The same text again would be read aloud again.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// What to change about how the sheet is held, or that nothing is.
export function showHint(hint, state) {
  const silent = !state.plan?.step || !state.frame || state.trouble || state.ended;
  const wanted = state.hint || (state.recording === false ? "Paused: nothing is counted." : "");
  hint.className = wanted ? "hint" : "hint good";
  setText(hint, silent ? "" : wanted || "Good: hold still.");
}

export const numberOf = (count, thing) => `${count} ${thing}${count === 1 ? "" : "s"}`;

export const seconds = (ms) => (ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`);

export const percent = (share, digits = 0) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)} %`);
